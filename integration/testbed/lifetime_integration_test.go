//go:build integration

package testbed

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestLeaveServer ends as leaveMode says, with servers running, when TestNothingIsLeft runs it in another process.
func TestLeaveServer(t *testing.T) {
	mode := os.Getenv(leaveMode)
	if mode == "" {
		return // nothing to do in the outer test binary
	}
	shared, private := MinIO(t), PrivateMinIO(t)
	run, err := sharedDir()
	if err != nil {
		t.Fatal(err)
	}
	pids, endpoints := []int{shared.Pid(), private.Pid()}, []string{shared.Endpoint, private.Endpoint}
	// RabbitMQ has a port mapper beside it, and a port of its own for that.
	for _, b := range []*AMQPBroker{RabbitMQ(t), PrivateRabbitMQ(t)} {
		pids = append(pids, b.Pid(), b.erlang.mapper.Pid())
		endpoints = append(endpoints, loopback(b.erlang.distribution), loopback(b.erlang.mapperPort))
	}
	left, err := json.Marshal(leftBehind{pids, endpoints, run.path})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nleft=%s\n", left)
	switch mode {
	case "fail":
		t.Fatal("on purpose")
	case "panic":
		panic("on purpose")
	case "hang":
		select {}
	}
}

type leftBehind struct {
	Pids      []int
	Endpoints []string
	RunDir    string
}

// However a test binary ends, its servers end with it; the data of one that could not clean up is removed by the next.
func TestNothingIsLeft(t *testing.T) {
	for _, mode := range []string{"pass", "fail", "panic", "hang"} {
		t.Run(mode, func(t *testing.T) {
			binary := Run(t, Command{Path: os.Args[0], Args: []string{"-test.run=^TestLeaveServer$"}, Env: []string{leaveMode + "=" + mode,
				"LSMTPD_TESTBED_CACHE=" + os.Getenv("LSMTPD_TESTBED_CACHE"), "LSMTPD_TESTBED_REQUIRED=1"}})
			var left leftBehind
			if err := json.Unmarshal([]byte(binary.WaitLog(t, "left=(.*)", startTimeout)[1]), &left); err != nil {
				t.Fatal(err)
			}
			if mode == "hang" {
				if err := binary.Signal(os.Kill); err != nil {
					t.Fatal(err)
				}
			}
			code := binary.ExitCode(t, patience)
			if (code == 0) != (mode == "pass") {
				t.Errorf("exit code of the test binary: got %d", code)
			}
			checkEnded(t, left)
			if err := sweepRunDirs(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(left.RunDir); !os.IsNotExist(err) {
				t.Errorf("the data of the run: got %v, want that it does not exist", err)
			}
		})
	}
}

func checkEnded(t *testing.T, left leftBehind) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for _, pid := range left.Pids {
		for alive(pid) && time.Now().Before(deadline) { // a signal takes its time
			<-tick.C
		}
		if alive(pid) {
			t.Errorf("the server with pid %d still runs", pid)
		}
	}
	for _, endpoint := range left.Endpoints {
		for listens(endpoint) && time.Now().Before(deadline) {
			<-tick.C
		}
		if listens(endpoint) {
			t.Errorf("something listens at %s", endpoint)
		}
	}
}

func listens(endpoint string) bool {
	conn, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "http://"))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func TestPrivateServerEndsWithTest(t *testing.T) {
	for name, start := range map[string]func(*testing.T) (left leftBehind, dir string){
		"MinIO": func(t *testing.T) (leftBehind, string) {
			s := PrivateMinIO(t)
			return leftBehind{Pids: []int{s.Pid()}, Endpoints: []string{s.Endpoint}}, s.dir
		},
		"versitygw": func(t *testing.T) (leftBehind, string) {
			s := PrivateVersityGW(t)
			return leftBehind{Pids: []int{s.Pid()}, Endpoints: []string{s.Endpoint}}, s.dir
		},
		// Not its process, as that has ended before: the port mapper is still to go then.
		"RabbitMQ": func(t *testing.T) (leftBehind, string) {
			b := PrivateRabbitMQ(t)
			if err := b.Kill(); err != nil {
				t.Fatal(err)
			}
			return leftBehind{Pids: []int{b.erlang.mapper.Pid()}, Endpoints: []string{loopback(b.erlang.mapperPort)}}, b.dir
		},
	} {
		t.Run(name, func(t *testing.T) {
			var left leftBehind
			var dir string
			t.Run("inner", func(t *testing.T) { left, dir = start(t) })
			checkEnded(t, left)
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("its folder: got %v, want that it does not exist", err)
			}
		})
	}
}
