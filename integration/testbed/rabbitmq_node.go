package testbed

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// erlangNode is the Erlang of one RabbitMQ, with its port mapper (epmd), which is a process of its own. The broker would
// start a mapper too, but one that outlives it; where there is one it does not.
type erlangNode struct {
	root         string // of the packages
	home         string // folder of the broker's data, with the cookie that it and its controllers know each other by
	mapper       *Server
	mapperPort   int
	distribution int // the port for other nodes
}

// newErlangNode starts the port mapper of a new node, which is to be ended after the node.
func newErlangNode(ctx context.Context) (*erlangNode, error) {
	root, err := installRabbitMQ(ctx)
	if err != nil {
		return nil, err
	}
	program, err := onlyMatch(filepath.Join(root, erlangRoot, "erts-*", "bin", "epmd"))
	if err != nil {
		return nil, err
	}
	mapper, err := newServer("epmd")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	node := &erlangNode{root: root, mapper: mapper, mapperPort: ports[0], distribution: ports[1]}
	mapper.command = Command{Path: program, Dir: mapper.dir, Args: []string{"-port", fmt.Sprint(node.mapperPort), "-address", "127.0.0.1"}}
	mapper.ready = func(ctx context.Context) error { return answersTCP(ctx, node.mapperPort) }
	return node, mapper.start(ctx)
}

func (n *erlangNode) command(args []string, env ...string) Command {
	env = append(env, "HOME="+n.home, "LANG=C.UTF-8", fmt.Sprint("ERL_EPMD_PORT=", n.mapperPort), "ERL_EPMD_ADDRESS=127.0.0.1")
	return Command{Path: filepath.Join(n.root, erlangRoot, "bin", "erl"), Dir: n.home, Args: args, Env: env}
}

// rabbitMQ is the command that starts the broker, as its own script rabbitmq-server does it, but for the shell that
// would stand between the broker and a signal.
func (n *erlangNode) rabbitMQ() (Command, error) {
	home, err := onlyMatch(filepath.Join(n.root, "usr/lib/rabbitmq/lib/rabbitmq_server-*"))
	if err != nil {
		return Command{}, err
	}
	file := func(name string) string { return filepath.Join(n.home, name) }
	plugins := filepath.Join(home, "plugins")
	return n.command(
		strings.Fields("-noinput -s rabbit boot -boot start_sasl +W w +pc unicode +P 1048576 +t 5000000 +S 2:2 +stbt u +sbwt none +sbwtdcpu none +sbwtdio none "+
			"-kernel inet_dist_use_interface {127,0,0,1} -kernel prevent_overlapping_partitions false -syslog logger [] -syslog syslog_error_logger false"),
		"ERL_LIBS="+plugins, "RABBITMQ_HOME="+home, "RABBITMQ_PLUGINS_DIR="+plugins,
		"RABBITMQ_NODENAME="+rabbitMQNode, fmt.Sprint("RABBITMQ_DIST_PORT=", n.distribution),
		"RABBITMQ_MNESIA_BASE="+file("mnesia"), "RABBITMQ_LOG_BASE="+file("log"), "RABBITMQ_LOGS=-",
		"RABBITMQ_CONFIG_FILE="+file("rabbitmq.conf"), "RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_PID_FILE="+file("pid"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+file("enabled_plugins"),
	), nil
}

// rabbitMQNode is the name of every broker: each has a port mapper of its own, so that they do not meet.
const rabbitMQNode = "lsmtpd@localhost"

// MemoryAlarm raises or clears RabbitMQ's memory alarm: it has every message wait that is sent to it, on all links,
// shortly after this returns. The alarm is cleared at the end of the test. A broker from the environment has none.
func (b *AMQPBroker) MemoryAlarm(t testing.TB, on bool) {
	t.Helper()
	if b.erlang == nil {
		t.Fatalf("the memory alarm of %s: it is not a RabbitMQ that the test bed has started", b.name)
	}
	set := func(share string, alarms int) error {
		ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
		defer cancel()
		return b.erlang.eval(ctx, fmt.Sprintf(`
			ok = Call(vm_memory_monitor, set_vm_memory_high_watermark, [%s]),
			Wait = fun Again() -> case length(Call(rabbit_alarm, get_alarms, [])) of %d -> ok; _ -> timer:sleep(20), Again() end end,
			Wait()`, share, alarms))
	}
	var err error
	if on {
		t.Cleanup(func() {
			// A broker that was ended has no alarm when it starts again.
			if b.Process().Running() {
				if err := set("0.6", 0); err != nil {
					t.Errorf("clear the memory alarm of %s: %v", b.name, err)
				}
			}
		})
		err = set("0.0", 1)
	} else {
		err = set("0.6", 0)
	}
	if err != nil {
		t.Fatalf("the memory alarm of %s, on: %t: %v", b.name, on, err)
	}
}

// eval runs Erlang code in a node of its own, where Call calls a function of the broker. It finds the broker by its port
// and not by the port mapper, and does not listen itself.
func (n *erlangNode) eval(ctx context.Context, code string) error {
	code = fmt.Sprintf("Call = fun(M, F, A) -> erpc:call('%s', M, F, A) end, %s, halt(0).", rabbitMQNode, code)
	args := strings.Fields(fmt.Sprintf("-boot start_clean -noinput -hidden -sname %s@localhost -start_epmd false -erl_epmd_port %d -dist_listen false -eval",
		strings.ReplaceAll(randomName(), ".", "_"), n.distribution))
	_, err := runTool(ctx, n.command(append(args, code)))
	return err
}
