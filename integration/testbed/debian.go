package testbed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// debianUnpacked unpacks a package of the Debian release that runs here, with what it depends on and the system lacks,
// into the cache and returns the folder that is its "/". Nothing of the system is changed and no script of a package
// is run, so it needs no root, packages that conflict can be there side by side, and no server of theirs is started.
// The lists of what there is are fetched into a folder of its own too: a fresh machine may have none.
func debianUnpacked(ctx context.Context, name string) (string, error) {
	release, err := debianRelease()
	if err != nil {
		return "", err
	}
	root, err := installed(ctx, release+"-"+name, func(ctx context.Context, dir string) error {
		return unpackDebian(ctx, dir, name, func(string) ([]string, error) { return nil, nil })
	})
	if err != nil {
		return "", fmt.Errorf("unpack the Debian package %s: %w", name, err)
	}
	return root, nil
}

// unpackDebian unpacks a package, with what it depends on, into dir. configure says how apt-get is to differ from that
// of the system, by options; it may write files into the folder given, which is gone afterwards.
func unpackDebian(ctx context.Context, dir, name string, configure func(state string) ([]string, error)) error {
	state, err := os.MkdirTemp("", "lsmtpd-testbed-apt-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	options, err := configure(state)
	if err != nil {
		return err
	}
	packages, err := aptDownload(ctx, state, name, options)
	if err != nil {
		return err
	}
	for _, file := range packages {
		if _, err := runTool(ctx, Command{Path: "dpkg-deb", Args: []string{"-x", file, dir}}); err != nil {
			return err
		}
	}
	return dropSetuid(dir)
}

// otherRelease configures apt-get for a release of Debian that need not be the one that runs here, and of which nothing
// is installed. It is fetched from where the packages of the system come from. The types are those of sources.list(5).
func otherRelease(ctx context.Context, codename string, types ...string) func(state string) ([]string, error) {
	return func(state string) ([]string, error) {
		mirror, err := debianMirror(ctx)
		if err != nil {
			return nil, err
		}
		sources, status := filepath.Join(state, "sources.list"), filepath.Join(state, "status")
		var lines []byte
		for _, kind := range types {
			lines = fmt.Appendf(lines, "%s [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", kind, mirror, codename)
		}
		if err := errors.Join(os.WriteFile(sources, lines, 0o600), os.WriteFile(status, nil, 0o600)); err != nil {
			return nil, err
		}
		return []string{"-o", "Dir::Etc::SourceList=" + sources, "-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Dir::State::status=" + status}, nil
	}
}

// debianMirror returns where apt-get of the system gets the main packages of its release from.
func debianMirror(ctx context.Context) (string, error) {
	system, err := osRelease()
	if err != nil {
		return "", err
	}
	targets, err := runTool(ctx, Command{Path: "apt-get", Args: []string{"indextargets", "--format", "$(CREATED_BY) $(RELEASE) $(COMPONENT) $(REPO_URI)"}})
	if err != nil {
		return "", err
	}
	want := "Packages " + system["VERSION_CODENAME"] + " main "
	for line := range strings.Lines(targets) {
		if mirror, ok := strings.CutPrefix(strings.TrimSpace(line), want); ok && system["ID"] == "debian" {
			return mirror, nil
		}
	}
	return "", fmt.Errorf("apt-get has no source of the main packages of %q %q, so that there is no mirror of Debian to ask",
		system["ID"], system["VERSION_CODENAME"])
}

// aptDownload fetches a package and what it depends on to files below state.
func aptDownload(ctx context.Context, state, name string, more []string) ([]string, error) {
	apt, err := aptGet(ctx, state, more)
	if err != nil {
		return nil, err
	}
	// Also where the system has the package already: what it needs beside it is then there too.
	if err := apt("", "-y", "--download-only", "--reinstall", "--no-install-recommends", "install", name); err != nil {
		return nil, err
	}
	packages, err := filepath.Glob(filepath.Join(state, "archives", "*.deb"))
	if err == nil && len(packages) == 0 {
		err = errors.New("apt-get has fetched nothing")
	}
	return packages, err
}

// aptCommand runs apt-get with arguments in a folder; "" is that of the test.
type aptCommand func(dir string, args ...string) error

// aptGet returns an apt-get that keeps all it writes below state, packages in the folder archives, and knows what there
// is. More are options for it.
func aptGet(ctx context.Context, state string, more []string) (aptCommand, error) {
	archives := filepath.Join(state, "archives")
	for _, dir := range []string{filepath.Join(state, "lists", "partial"), filepath.Join(archives, "partial")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	options := append([]string{"-qq", "-o", "Dir::State::Lists=" + filepath.Join(state, "lists"), "-o", "Dir::Cache=" + state,
		"-o", "Dir::Cache::Archives=" + archives, "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"}, more...)
	apt := func(dir string, args ...string) error {
		_, err := runTool(ctx, Command{Path: "apt-get", Dir: dir, Args: append(slices.Clip(options), args...), Env: []string{"DEBIAN_FRONTEND=noninteractive"}})
		return err
	}
	return apt, apt("", "update")
}

// dropSetuid takes the right to become another user from programs that are only ever started by the user who may.
func dropSetuid(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) == 0 {
			return err
		}
		return os.Chmod(path, info.Mode().Perm())
	})
}

// debianRelease returns the name and the number of the release, as debian-12, or ubuntu-24.04, which is as good.
func debianRelease() (string, error) {
	system, err := osRelease()
	if err != nil {
		return "", err
	}
	if id := system["ID"]; id != "debian" && id != "ubuntu" || system["VERSION_ID"] == "" {
		return "", fmt.Errorf("this is %q %q, not a release of Debian, whose packages are needed", id, system["VERSION_ID"])
	}
	return system["ID"] + "-" + system["VERSION_ID"], nil
}

// osRelease reads what the system says it is (os-release(5)).
func osRelease() (map[string]string, error) {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return nil, fmt.Errorf("which Debian this is cannot be told: %w", err)
	}
	defer f.Close()
	fields := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		fields[name] = strings.Trim(value, `"`)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read which Debian this is: %w", err)
	}
	return fields, nil
}

// libraryPath is the environment in which programs below root find the libraries that were unpacked there, in the
// folders usual for all and in those given.
func libraryPath(root string, folders ...string) string {
	var found []string
	for _, pattern := range append(folders, "usr/lib/*-linux-*", "lib/*-linux-*") {
		// The only error is that of a bad pattern.
		match, _ := filepath.Glob(filepath.Join(root, pattern))
		found = append(found, match...)
	}
	if own := os.Getenv("LD_LIBRARY_PATH"); own != "" {
		found = append(found, own)
	}
	return "LD_LIBRARY_PATH=" + strings.Join(found, string(os.PathListSeparator))
}
