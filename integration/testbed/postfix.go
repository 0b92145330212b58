package testbed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// relayTimeout bounds the wait until a relay has passed on what it was handed, which may be a hundred megabytes.
const relayTimeout = 3 * time.Minute

// Postfix is a Postfix that takes mail for anybody from loopback and passes all of it on.
type Postfix struct {
	*Server

	// Addr is where it takes mail by SMTP, HOST:PORT.
	Addr string
}

// postfixOwner and postfixGroup own what Postfix shares between its processes. Debian's package would make accounts
// for them; these two are on every Debian system, and nothing else uses them.
const postfixOwner, postfixGroup = "uucp", "operator"

// postfixLifetime is when Postfix ends by itself, in seconds: it changes its user at times, and the kernel then forgets
// that it was to be killed when the test binary is.
const postfixLifetime = "1800"

// StartPostfix starts a Postfix that ends with the test. The parameters are those of postconf(5) that say where mail
// goes and how, such as relayhost; messages have no limit of size. It needs root, as the master process of Postfix
// does.
func StartPostfix(t testing.TB, parameters map[string]string) *Postfix {
	t.Helper()
	needMain(t)
	p, err := startPostfix(t.Context(), parameters)
	if err != nil {
		unavailable(t, "Postfix", err)
	}
	p.private(t)
	return p
}

func startPostfix(ctx context.Context, parameters map[string]string) (*Postfix, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("its master process runs as root only")
	}
	root, err := installPostfix(ctx)
	if err != nil {
		return nil, err
	}
	server, err := newServer("postfix")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &Postfix{Server: server, Addr: loopback(port)}
	if err := p.prepare(root, parameters); err != nil {
		return nil, fmt.Errorf("prepare the folders of Postfix: %w", err)
	}
	server.command = Command{
		Path: filepath.Join(root, "usr/lib/postfix/sbin/master"), Dir: server.dir,
		Args: []string{"-d", "-e", postfixLifetime, "-c", filepath.Join(server.dir, "etc")}, Env: []string{postfixLibraries(root)},
	}
	server.ready = func(ctx context.Context) error { return greets(ctx, p.Addr) }
	return p, server.start(ctx)
}

// greets reads the greeting of an SMTP server: the port of Postfix is open before there is anybody to answer.
func greets(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline() // set above
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the greeting: %w", err)
	}
	if !strings.HasPrefix(line, "220 ") {
		return fmt.Errorf("the greeting is %q", line)
	}
	return nil
}

// prepare makes what the scripts of the package and of "postfix start" would have made: configuration and queue.
func (p *Postfix) prepare(root string, parameters map[string]string) error {
	owner, err := user.Lookup(postfixOwner)
	if err != nil {
		return err
	}
	group, err := user.LookupGroup(postfixGroup)
	if err != nil {
		return err
	}
	uid, uidErr := strconv.Atoi(owner.Uid)
	gid, gidErr := strconv.Atoi(group.Gid)
	if err := errors.Join(uidErr, gidErr, os.Chmod(p.dir, 0o711)); err != nil {
		return err
	}
	type folder struct {
		path     string
		uid, gid int
		mode     os.FileMode
	}
	folders := []folder{
		{"etc", 0, 0, 0o755}, {"data", uid, 0, 0o700}, {"queue", 0, 0, 0o755}, {"queue/pid", 0, 0, 0o755},
		{"queue/public", uid, gid, 0o710}, {"queue/maildrop", uid, gid, 0o730},
	}
	for _, queue := range strings.Fields("active bounce corrupt defer deferred flush hold incoming private saved trace") {
		folders = append(folders, folder{"queue/" + queue, uid, 0, 0o700})
	}
	for _, f := range folders {
		path := filepath.Join(p.dir, f.path)
		// The mode once more, because Mkdir has the umask take from it.
		if err := errors.Join(os.Mkdir(path, f.mode), os.Chmod(path, f.mode), os.Chown(path, f.uid, f.gid)); err != nil {
			return err
		}
	}
	// A main.cf younger than two seconds may be half written, Postfix thinks, and waits.
	mainCF, written := filepath.Join(p.dir, "etc", "main.cf"), time.Now().Add(-time.Minute)
	return errors.Join(
		os.WriteFile(mainCF, p.mainCF(root, parameters), 0o644), os.Chtimes(mainCF, written, written),
		os.WriteFile(filepath.Join(p.dir, "etc", "master.cf"), []byte(p.Addr+masterCF), 0o644))
}

func (p *Postfix) mainCF(root string, parameters map[string]string) []byte {
	all := map[string]string{
		"compatibility_level": "3.6",
		"config_directory":    filepath.Join(p.dir, "etc"), "meta_directory": filepath.Join(p.dir, "etc"),
		"queue_directory": filepath.Join(p.dir, "queue"), "data_directory": filepath.Join(p.dir, "data"),
		"daemon_directory": filepath.Join(root, "usr/lib/postfix/sbin"), "command_directory": filepath.Join(root, "usr/sbin"),
		"shlib_directory": filepath.Join(root, "usr/lib/postfix"), "import_environment": "MAIL_CONFIG LANG=C LD_LIBRARY_PATH",
		"mail_owner": postfixOwner, "setgid_group": postfixGroup,
		"maillog_file": p.log, "maillog_file_prefixes": filepath.Dir(p.log),
		"inet_protocols": "ipv4", "mynetworks": "127.0.0.0/8", "myhostname": "relay.example",
		"mydestination": "", "local_recipient_maps": "", "alias_maps": "", "message_size_limit": "0", "mailbox_size_limit": "0",
		// What arrives without a To field is not to get one.
		"undisclosed_recipients_header": "",
	}
	maps.Copy(all, parameters)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s = %s\n", name, all[name])
	}
	return []byte(text.String())
}

// masterCF are the services of Postfix without those of the machine's own mail, with no chroot; the first line is that
// of the address in front of it.
const masterCF = ` inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// RelayDelivery is what Postfix or Exim notes of one recipient of one message.
type RelayDelivery struct {
	Recipient string
	Sent      bool
	Line      string // of the log, with the reply in it
}

// postfixDelivery is the line that smtp(8) and lmtp(8) write when they are done with a recipient.
var postfixDelivery = regexp.MustCompile(`(?m)^.* to=<([^>]*)>,.* status=(\w+) .*$`)

// Deliveries waits until Postfix has tried to deliver to n recipients since it was started, counted over all messages,
// and returns what came of each. It fails the test when that takes longer than three minutes.
func (p *Postfix) Deliveries(t testing.TB, n int) []RelayDelivery {
	t.Helper()
	var done []RelayDelivery
	p.Process().WaitFor(t, fmt.Sprintf("%d recipients to be dealt with", n), relayTimeout, func() bool {
		done = done[:0]
		for _, match := range postfixDelivery.FindAllStringSubmatch(p.Log(), -1) {
			done = append(done, RelayDelivery{Recipient: match[1], Sent: match[2] == "sent", Line: match[0]})
		}
		return len(done) >= n
	})
	return done
}

// SMTPSource runs Postfix's load generator, which sends the same mail again and again, to its end, and fails the test
// where it reports a failure: it stops at the first reply it did not hope for. The arguments are those of
// smtp-source(1). It needs no running Postfix, and no root.
func SMTPSource(t testing.TB, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sendTimeout)
	defer cancel()
	root, err := installPostfix(ctx)
	if err != nil {
		unavailable(t, "smtp-source", err)
	}
	program := Command{Path: filepath.Join(root, "usr/sbin/smtp-source"), Args: args, Env: []string{postfixLibraries(root)}}
	if _, err := runTool(ctx, program); err != nil {
		t.Fatalf("send by smtp-source: %v", err)
	}
}

func installPostfix(ctx context.Context) (string, error) { return debianUnpacked(ctx, "postfix") }

func postfixLibraries(root string) string { return libraryPath(root, "usr/lib/postfix") }
