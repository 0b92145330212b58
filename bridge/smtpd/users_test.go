package smtpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// hashOf is a bcrypt hash with the prefix that htpasswd gives it.
func hashOf(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(hash), "$2a$", "$2y$", 1)
}

func openUsers(t *testing.T, content string) (users *Users, path string, lines *logged) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "users")
	writeFile(t, path, content)
	log, lines := newLogged()
	users, err := OpenUsers(path, log)
	if err != nil {
		t.Fatal(err)
	}
	return users, path, lines
}

func TestUsersCheck(t *testing.T) {
	long := strings.Repeat("x", maxPassword)
	// The hash of user "openwall" is a published test vector of crypt_blowfish: password U*U, cost 5.
	users, _, _ := openUsers(t, "\ufeff# who may send\r\n\r\nalice:"+hashOf(t, "secret")+"\r\n"+
		"bob@example.com:"+strings.Replace(hashOf(t, "pass:wörd"), "$2y$", "$2b$", 1)+"\n"+
		"long:"+hashOf(t, long)+" \n"+
		"openwall:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"+
		"empty:"+hashOf(t, "")+"\n"+
		"  zoë:"+hashOf(t, "z"))
	for _, tt := range []struct {
		name, user, password string
		want                 error
	}{
		{"right", "alice", "secret", nil},
		{"wrong password", "alice", "Secret", ErrCredentials},
		{"no password", "alice", "", ErrCredentials},
		{"more behind a NUL", "alice", "secret\x00more", ErrCredentials},
		{"NUL at the end", "alice", "secret\x00", ErrCredentials},
		{"the same twice around a NUL, which is the same key to bcrypt", "alice", "secret\x00secret", ErrCredentials},
		{"no password, and that is right", "empty", "", ErrCredentials},
		{"unknown user", "carol", "secret", ErrCredentials},
		{"no user", "", "secret", ErrCredentials},
		{"user in another case", "Alice", "secret", ErrCredentials},
		{"a comment is no user", "# who may send", "secret", ErrCredentials},
		{"colon and UTF-8 in the password", "bob@example.com", "pass:wörd", nil},
		{"72 octets", "long", long, nil},
		{"71 octets", "long", long[1:], ErrCredentials},
		{"what follows 72 octets", "long", long + "y", nil},
		{"a hash of another implementation", "openwall", "U*U", nil},
		{"user in UTF-8, last line without an end", "zoë", "z", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := users.Check(t.Context(), tt.user, tt.password); !errors.Is(err, tt.want) {
				t.Errorf("Check(%q, %q): got %v, want %v", tt.user, tt.password, err, tt.want)
			}
		})
	}
}

func TestParseUsersErrors(t *testing.T) {
	const rest = "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	good := "$2y$05$" + rest
	for _, tt := range []struct{ name, content, want string }{
		{"empty", "", "the file is empty; add a user with htpasswd -B, or a # line to let nobody in"},
		{"blank", " \n\n", "the file is empty; add a user with htpasswd -B, or a # line to let nobody in"},
		{"no colon", "#\nalice\n", "line 2: there is no colon; want user:hash, as htpasswd -B makes it"},
		{"only a hash", good, "line 1: there is no colon; want user:hash, as htpasswd -B makes it"},
		{"no user", ":" + good, "line 1: there is no user before the colon; want user:hash, as htpasswd -B makes it"},
		{"no hash", "alice:", "line 1: the password is missing; want a bcrypt hash, make it with htpasswd -B"},
		{"in clear", "alice:hunter2", "line 1: the password is in clear, or a hash of another kind; want a bcrypt hash, make it with htpasswd -B"},
		{"DES", "alice:rEK1ecacw.7.c", "line 1: the password is in clear, or a hash of another kind; want a bcrypt hash, make it with htpasswd -B"},
		{"Apache's MD5", "alice:$apr1$ZjTqBB3f$IF9gdYAGlMrs2fuINjHsz.", "line 1: the password is an MD5 hash; want a bcrypt hash, make it with htpasswd -B"},
		{"MD5", "alice:$1$ZjTqBB3f$IF9gdYAGlMrs2fuINjHsz.", "line 1: the password is an MD5 hash; want a bcrypt hash, make it with htpasswd -B"},
		{"SHA-1", "alice:{SHA}6bTTGKJkD7TgnBxHiYUHE1xZ8bg=", "line 1: the password is a SHA-1 hash; want a bcrypt hash, make it with htpasswd -B"},
		{"SHA-256", "alice:$5$x$y", "line 1: the password is a SHA-256 hash; want a bcrypt hash, make it with htpasswd -B"},
		{"SHA-512", "alice:$6$x$y", "line 1: the password is a SHA-512 hash; want a bcrypt hash, make it with htpasswd -B"},
		{"broken bcrypt", "alice:$2x$05$" + rest, "line 1: the password is a bcrypt hash of the broken kind $2x$; want a bcrypt hash, make it with htpasswd -B"},
		{"cut short", "alice:" + good[:59], "line 1: the password is no whole bcrypt hash; want a bcrypt hash, make it with htpasswd -B"},
		{"another field", "alice:" + good + ":Alice", "line 1: the password is no whole bcrypt hash; want a bcrypt hash, make it with htpasswd -B"},
		{"cost too low", "alice:$2y$03$" + rest, "line 1: the bcrypt hash has the cost 03; want 4 to 14, make it with htpasswd -B -C 10"},
		{"cost too high", "alice:$2y$15$" + rest, "line 1: the bcrypt hash has the cost 15; want 4 to 14, make it with htpasswd -B -C 10"},
		{"cost beyond bcrypt", "alice:$2y$99$" + rest, "line 1: the bcrypt hash has the cost 99; want 4 to 14, make it with htpasswd -B -C 10"},
		{"twice", "alice:" + good + "\nbob:" + good + "\nalice:" + good, "line 3: the user is on line 1 already; remove one of them"},
		{"user too long", strings.Repeat("a", 256) + ":" + good, "line 1: the user is 256 octets long; want up to 255"},
		{"user not UTF-8", "al\xefce:" + good, "line 1: the user is not UTF-8; save the file as UTF-8"},
		{"control character", "al\x00ice:" + good, "line 1: there is a control character in the user; remove it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parseUsers([]byte(tt.content)); err == nil || err.Error() != tt.want {
				t.Errorf("parseUsers(%q):\ngot  %v\nwant %s", tt.content, err, tt.want)
			}
		})
	}
	for _, content := range []string{"alice:$2y$04$" + rest, "alice:$2y$14$" + rest, strings.Repeat("a", 255) + ":" + good, "# nobody"} {
		if _, err := parseUsers([]byte(content)); err != nil {
			t.Errorf("parseUsers(%q): got %v, want nil", content, err)
		}
	}
}

func TestOpenUsersErrors(t *testing.T) {
	log, _ := newLogged()
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	writeFile(t, path, "alice:hunter2")
	for _, tt := range []struct{ name, path, want string }{
		{"absent", filepath.Join(dir, "absent"), "smtp.auth.users_file: stat " + filepath.Join(dir, "absent") + ": no such file or directory"},
		{"a folder", dir, "smtp.auth.users_file: " + dir + " is a directory; want a regular file, which can be read again"},
		{"wrong content", path, "smtp.auth.users_file: " + path + ": line 1: the password is in clear, or a hash of another kind; want a bcrypt hash, make it with htpasswd -B"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := OpenUsers(tt.path, log); err == nil || err.Error() != tt.want {
				t.Errorf("OpenUsers(%q):\ngot  %v\nwant %s", tt.path, err, tt.want)
			}
		})
	}
}

func TestUsersReload(t *testing.T) {
	users, path, lines := openUsers(t, "alice:"+hashOf(t, "one"))
	check := func(when, user, password string, want error) {
		t.Helper()
		if err := users.Check(t.Context(), user, password); !errors.Is(err, want) {
			t.Errorf("%s: Check(%q, %q): got %v, want %v", when, user, password, err, want)
		}
	}
	check("at start", "alice", "one", nil)
	writeFile(t, path, "alice:"+hashOf(t, "two"))
	check("password changed", "alice", "one", ErrCredentials)
	check("password changed", "alice", "two", nil)
	writeFile(t, path, "")
	check("in the middle of rewriting", "alice", "two", nil)
	writeFile(t, path, "bob:three")
	check("wrong file", "alice", "two", nil)
	check("wrong file", "bob", "three", ErrCredentials)
	replaceFile(t, path, "bob:"+hashOf(t, "three"))
	check("user replaced", "alice", "two", ErrCredentials)
	check("user replaced", "bob", "three", nil)
	replaceFile(t, path, "# nobody")
	check("nobody", "bob", "three", ErrCredentials)
	if e, i := lines.count(slog.LevelError), lines.count(slog.LevelInfo); e != 2 || i != 3 {
		t.Errorf("%d errors and %d successes logged, want 2 and 3:\n%s", e, i, lines)
	}
	for _, secret := range []string{"three", "$2y$"} {
		if strings.Contains(lines.String(), secret) {
			t.Errorf("the log shows %q:\n%s", secret, lines)
		}
	}
}

func TestUsersCheckIsBounded(t *testing.T) {
	users, _, _ := openUsers(t, "alice:"+hashOf(t, "secret"))
	all := int64(0)
	for users.running.TryAcquire(1) {
		all++
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() { waiting <- users.Check(ctx, "alice", "secret") }()
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("all places taken, context cancelled: got %v, want %v", err, context.Canceled)
	}
	go func() { waiting <- users.Check(t.Context(), "alice", "secret") }()
	users.running.Release(all)
	if err := <-waiting; err != nil {
		t.Errorf("places free again: got %v, want nil", err)
	}
}

func TestUsersConcurrently(t *testing.T) {
	users, path, _ := openUsers(t, "alice:"+hashOf(t, "secret"))
	var checks sync.WaitGroup
	for i := range 8 {
		checks.Go(func() {
			for range 5 {
				if err := users.Check(t.Context(), "alice", "secret"); err != nil {
					t.Errorf("alice: got %v, want nil", err)
				}
				if err := users.Check(t.Context(), fmt.Sprint("guess", i), "secret"); !errors.Is(err, ErrCredentials) {
					t.Errorf("guess: got %v, want %v", err, ErrCredentials)
				}
			}
		})
	}
	for range 5 {
		replaceFile(t, path, "alice:"+hashOf(t, "secret"))
	}
	checks.Wait()
}

// A user that does not exist must cost a guesser what most others do.
func TestDecoyCost(t *testing.T) {
	hash := func(cost int) string {
		return fmt.Sprintf("$2y$%02d$%s", cost, strings.Repeat("C", 53))
	}
	for _, tt := range []struct {
		name  string
		costs []int
		want  int
	}{
		{"no users", nil, bcrypt.DefaultCost},
		{"one", []int{5}, 5},
		{"most", []int{10, 5, 12, 5}, 5},
		{"all the same", []int{14, 14}, 14},
	} {
		t.Run(tt.name, func(t *testing.T) {
			content := "#\n"
			for i, cost := range tt.costs {
				content += fmt.Sprintf("user%d:%s\n", i, hash(cost))
			}
			users, err := parseUsers([]byte(content))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := bcrypt.Cost(users.decoy); got != tt.want || err != nil {
				t.Errorf("costs %v: got %d, %v, want %d", tt.costs, got, err, tt.want)
			}
		})
	}
	if err := bcrypt.CompareHashAndPassword(decoy([]int{bcrypt.MinCost: 1, bcrypt.DefaultCost: 0}), []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Errorf("got %v: the decoy is not even computed", err)
	}
}
