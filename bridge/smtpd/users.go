package smtpd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/semaphore"
)

// ErrCredentials reports a user that does not exist or a password that is not theirs, without saying which.
var ErrCredentials = errors.New("smtpd: wrong user or password")

const (
	maxUserLength = 255 // octets, as htpasswd has it
	maxPassword   = 72  // octets that bcrypt looks at; it ignores the rest, and so does htpasswd

	// maxCost bounds what one guess costs us: 14 is about a second of a processor, and each step doubles it.
	maxCost = 14
)

// Users checks passwords against a file in htpasswd's format. The file is read again when it changes.
type Users struct {
	file    *reloaded[*userFile]
	running *semaphore.Weighted
}

// userFile is the content of a users file.
type userFile struct {
	hashes map[string][]byte // by user
	decoy  []byte            // checked for users that do not exist, so that they take as long as most others
}

// OpenUsers reads the users file at path: lines of the form user:hash, where the hash is bcrypt's ($2a$, $2b$ or $2y$)
// of a cost up to 14, blank lines, and comments that start with #. The errors name file and line, and what would be
// right. A file that turns wrong or empty later is logged, and the users from before stay; a file with nothing but
// comments lets nobody in. User names are compared octet by octet.
func OpenUsers(path string, log *slog.Logger) (*Users, error) {
	file, err := newReloaded(func() (*userFile, error) {
		content, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("smtp.auth.users_file: %w", err)
		}
		users, err := parseUsers(content)
		if err != nil {
			return nil, fmt.Errorf("smtp.auth.users_file: %s: %w", path, err)
		}
		return users, nil
	}, log, path)
	if err != nil {
		return nil, err
	}
	// Half of the processors stays with the mail, however many guesses there are.
	return &Users{file: file, running: semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)/2)))}, nil
}

// Check returns nil if the password is the user's, ErrCredentials if it is not, and an error that wraps ctx's if
// that ends while other checks are running: there are only so many at a time. Of a password, bcrypt sees the first
// 72 octets. An empty one, and one with a NUL, is nobody's (RFC 4616 §2). Check is safe for concurrent use.
func (u *Users) Check(ctx context.Context, user, password string) error {
	if password == "" || strings.ContainsRune(password, 0) {
		return ErrCredentials
	}
	if err := u.running.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait to check a password: %w", err)
	}
	defer u.running.Release(1)
	file := u.file.get()
	hash, known := file.hashes[user]
	if !known {
		hash = file.decoy
	}
	err := bcrypt.CompareHashAndPassword(hash, []byte(password[:min(len(password), maxPassword)]))
	if err != nil || !known {
		return ErrCredentials
	}
	return nil
}

// parseUsers reads the content of a users file. Its errors never show what stands in a line, which may be a secret.
func parseUsers(content []byte) (*userFile, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	if len(bytes.TrimSpace(content)) == 0 {
		// A file that is being rewritten is empty for a moment.
		return nil, errors.New("the file is empty; add a user with htpasswd -B, or a # line to let nobody in")
	}
	users := &userFile{hashes: map[string][]byte{}}
	lines := map[string]int{}
	costs := [maxCost + 1]int{}
	for i, line := range strings.Split(string(content), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, found := strings.Cut(line, ":")
		if !found {
			return nil, fmt.Errorf("line %d: there is no colon; want user:hash, as htpasswd -B makes it", i+1)
		}
		if err := checkUser(user); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if first, twice := lines[user]; twice {
			return nil, fmt.Errorf("line %d: the user is on line %d already; remove one of them", i+1, first)
		}
		cost, err := checkHash(hash)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		users.hashes[user], lines[user] = []byte(hash), i+1
		costs[cost]++
	}
	users.decoy = decoy(costs[:])
	return users, nil
}

func checkUser(user string) error {
	switch {
	case user == "":
		return errors.New("there is no user before the colon; want user:hash, as htpasswd -B makes it")
	case len(user) > maxUserLength:
		return fmt.Errorf("the user is %d octets long; want up to %d", len(user), maxUserLength)
	case !utf8.ValidString(user):
		return errors.New("the user is not UTF-8; save the file as UTF-8")
	case strings.ContainsFunc(user, unicode.IsControl):
		return errors.New("there is a control character in the user; remove it")
	}
	return nil
}

// bcryptHash has the cost as its group.
var bcryptHash = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

// checkHash returns the cost of a bcrypt hash, or an error that says what it is instead.
func checkHash(hash string) (int, error) {
	match := bcryptHash.FindStringSubmatch(hash)
	if match == nil {
		return 0, fmt.Errorf("the password is %s; want a bcrypt hash, make it with htpasswd -B", hashKind(hash))
	}
	cost, err := strconv.Atoi(match[1])
	if err != nil || cost < bcrypt.MinCost || cost > maxCost {
		return 0, fmt.Errorf("the bcrypt hash has the cost %s; want %d to %d, make it with htpasswd -B -C 10", match[1], bcrypt.MinCost, maxCost)
	}
	return cost, nil
}

// hashKind names what stands in the place of a bcrypt hash.
func hashKind(hash string) string {
	for _, kind := range []struct{ prefix, name string }{
		{"$2x$", "a bcrypt hash of the broken kind $2x$"},
		{"$2", "no whole bcrypt hash"},
		{"$apr1$", "an MD5 hash"},
		{"$1$", "an MD5 hash"},
		{"{SHA}", "a SHA-1 hash"},
		{"$5$", "a SHA-256 hash"},
		{"$6$", "a SHA-512 hash"},
		{"$y$", "a yescrypt hash"},
		{"$argon2", "an Argon2 hash"},
	} {
		if strings.HasPrefix(hash, kind.prefix) {
			return kind.name
		}
	}
	if hash == "" {
		return "missing"
	}
	return "in clear, or a hash of another kind"
}

// decoy is a hash with the cost that most users have, given how many have which.
func decoy(costs []int) []byte {
	most := bcrypt.DefaultCost
	for cost, users := range costs {
		if users > costs[most] {
			most = cost
		}
	}
	return fmt.Appendf(nil, "$2a$%02d$%s", most, strings.Repeat(".", 53))
}
