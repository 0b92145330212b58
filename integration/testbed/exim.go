package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Exim is an Exim that passes all mail it is handed on to one server. It runs only while it does so.
type Exim struct {
	command Command
	dir     string
}

// eximAccount is the user that Debian's Exim was built to become, and whose existence it insists on.
const eximAccount = "Debian-exim"

// eximStandIn is the account that takes its place where the tests run as root. It is on every Debian system.
const eximStandIn = "uucp"

// NewExim configures an Exim that relays to addr (host:port). Options are more lines for the smtp transport, as
// "hosts_require_tls = *"; messages have no limit of size. It needs no root.
func NewExim(t testing.TB, addr string, options ...string) *Exim {
	t.Helper()
	needMain(t)
	e, err := newExim(addr, options)
	if err != nil {
		unavailable(t, "Exim", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of Exim ended:\n%s", tail(e.Log(), 4096))
		}
		if err := os.RemoveAll(e.dir); err != nil {
			t.Error(err)
		}
	})
	return e
}

func newExim(addr string, options []string) (*Exim, error) {
	host, port, ok := strings.Cut(addr, ":")
	if !ok {
		return nil, fmt.Errorf("%q is not of the form HOST:PORT", addr)
	}
	root, err := bed.exim.get(func() (string, error) { return reachableExim(bed.ctx) })
	if err != nil {
		return nil, err
	}
	wrapper, err := filepath.Glob(filepath.Join(root, "usr/lib/*/libnss_wrapper.so"))
	if err != nil || len(wrapper) == 0 {
		return nil, errors.Join(err, errors.New("libnss-wrapper has no libnss_wrapper.so"))
	}
	dir, err := serverDir("exim")
	if err != nil {
		return nil, err
	}
	e := &Exim{dir: dir}
	uid, gid, err := e.prepare()
	if err != nil {
		return nil, fmt.Errorf("prepare the folders of Exim: %w", err)
	}
	passwd, group := filepath.Join(dir, "passwd"), filepath.Join(dir, "group")
	program := filepath.Join(root, "usr/sbin/exim4")
	config := fmt.Sprintf(eximConfig, program, dir, filepath.Join(dir, "log", "%s"), host, port, strings.Join(options, "\n"))
	e.command = Command{Path: program, Dir: dir, Env: []string{libraryPath(root),
		"LD_PRELOAD=" + wrapper[0], "NSS_WRAPPER_PASSWD=" + passwd, "NSS_WRAPPER_GROUP=" + group}}
	return e, errors.Join(
		addAccount("/etc/passwd", passwd, fmt.Sprintf("%s:x:%d:%d::/nonexistent:/bin/false\n", eximAccount, uid, gid)),
		addAccount("/etc/group", group, fmt.Sprintf("%s:x:%d:\n", eximAccount, gid)),
		os.WriteFile(filepath.Join(dir, "exim.conf"), []byte(config), 0o644))
}

// prepare makes the folders that Exim writes to and returns who is to own them: who runs the tests, but never root.
func (e *Exim) prepare() (uid, gid int, err error) {
	uid, gid = os.Getuid(), os.Getgid()
	if uid == 0 {
		account, err := user.Lookup(eximStandIn)
		if err != nil {
			return 0, 0, err
		}
		var uidErr, gidErr error
		uid, uidErr = strconv.Atoi(account.Uid)
		gid, gidErr = strconv.Atoi(account.Gid)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return 0, 0, err
		}
	}
	for _, name := range []string{"spool", "log"} {
		path := filepath.Join(e.dir, name)
		if err := errors.Join(os.Mkdir(path, 0o750), os.Chown(path, uid, gid)); err != nil {
			return 0, 0, err
		}
	}
	return uid, gid, os.Chmod(e.dir, 0o711)
}

// addAccount writes the accounts of the system and one more to a file of the same form.
func addAccount(system, path, line string) error {
	accounts, err := os.ReadFile(system)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(accounts, line...), 0o644)
}

// eximConfig sends everything to one server; what fails stays in the spool and is not tried again.
const eximConfig = `exim_path = %s
spool_directory = %s/spool
log_file_path = %s
primary_hostname = relay.example
keep_environment = LD_LIBRARY_PATH : LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
log_selector = +smtp_confirmation +subject
message_size_limit = 0
untrusted_set_sender = *
local_from_check = false
accept_8bitmime = true
begin routers
everything:
  driver = manualroute
  route_list = * %s byname
  self = send
  transport = relay
begin transports
relay:
  driver = smtp
  port = %s
  %s
`

// eximDelivery is what Exim logs of a recipient it is done with: => and, of the same transaction, -> when it was sent,
// == when it was put off, ** when it was refused.
var eximDelivery = regexp.MustCompile(`(?m)^\S+ \S+ \S+ (=>|->|==|\*\*) (\S+) .*$`)

// Send hands a mail, in a file of its own, to Exim, which tries to deliver it at once, and returns what came of each
// recipient.
func (e *Exim) Send(t testing.TB, from string, to []string, message string) []RelayDelivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), relayTimeout)
	defer cancel()
	before := len(e.contents("main"))
	c := e.command
	c.Stdin = message
	// -odf: deliver in the foreground; -oi: a dot is no end.
	c.Args = append([]string{"-C", filepath.Join(e.dir, "exim.conf"), "-odf", "-oi", "-f", from}, to...)
	if _, err := runTool(ctx, c); err != nil {
		t.Fatalf("hand a mail to Exim: %v", err)
	}
	var done []RelayDelivery
	for _, match := range eximDelivery.FindAllStringSubmatch(e.contents("main")[before:], -1) {
		done = append(done, RelayDelivery{Recipient: match[2], Sent: strings.HasSuffix(match[1], ">"), Line: match[0]})
	}
	return done
}

// Log returns what Exim has logged so far. That it loses privileges by -C is no fault: it was given what it needs.
func (e *Exim) Log() string { return e.contents("main") + e.contents("panic") }

// contents returns one of its log files, of which the panic log is there only once something has been written to it.
func (e *Exim) contents(log string) string {
	content, err := os.ReadFile(filepath.Join(e.dir, "log", log))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("(%v)", err)
	}
	return string(content)
}

// eximPackages are Exim, and a library that gives one process accounts that the system does not have.
var eximPackages = []string{"exim4-daemon-light", "libnss-wrapper"}

// installExim returns the folders of eximPackages.
func installExim(ctx context.Context) ([]string, error) {
	var roots []string
	for _, name := range eximPackages {
		root, err := debianUnpacked(ctx, name)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	return roots, nil
}

// reachableExim copies Exim to a folder of this run and returns it: Exim starts itself anew after it has dropped the
// rights of root, and the home of root, where the cache may be, is closed to all others.
func reachableExim(ctx context.Context) (string, error) {
	roots, err := installExim(ctx)
	if err != nil {
		return "", err
	}
	dir, err := serverDir("exim-program")
	if err != nil {
		return "", err
	}
	for _, root := range roots {
		if err := os.CopyFS(dir, os.DirFS(root)); err != nil {
			return "", fmt.Errorf("copy Exim: %w", err)
		}
	}
	return dir, os.Chmod(dir, 0o711)
}
