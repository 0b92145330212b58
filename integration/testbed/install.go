package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// installTimeout bounds one installation; building MinIO on two cores takes two to three minutes.
const installTimeout = 15 * time.Minute

// cacheDir returns the folder of what was installed, and makes it.
func cacheDir() (string, error) {
	dir := os.Getenv("LSMTPD_TESTBED_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no folder for the cache (LSMTPD_TESTBED_CACHE sets one): %w", err)
		}
		dir = filepath.Join(user, "lsmtpd-testbed")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// installed returns the folder called name in the cache. Where it is missing, install fills a folder that becomes it
// in one step, so that a folder of that name is always complete.
func installed(ctx context.Context, name string, install func(ctx context.Context, dir string) error) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, name)
	err = underLock(ctx, path+".lock", func(ctx context.Context) error {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		tmp := path + ".partial"
		if err := os.RemoveAll(tmp); err != nil { // of an interrupted installation
			return err
		}
		if err := os.Mkdir(tmp, 0o755); err != nil {
			return err
		}
		if err := install(ctx, tmp); err != nil {
			return errors.Join(err, os.RemoveAll(tmp))
		}
		return os.Rename(tmp, path)
	})
	if err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	return path, nil
}

// underLock runs f while it holds the lock file at path, within installTimeout.
func underLock(ctx context.Context, path string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		lock, err := tryLock(path)
		if err == nil {
			defer lock.Close()
			return f(ctx)
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("another test binary holds %s: %w", path, ctx.Err())
		}
	}
}

// tryLock locks a file, which closing it, or the end of the program, unlocks. The error wraps syscall.EWOULDBLOCK
// when another holds it.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// runTool runs a program to its end and returns its standard output. A failure tells what it wrote last.
func runTool(ctx context.Context, c Command) (string, error) {
	dir, err := os.MkdirTemp("", "lsmtpd-testbed-tool-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	p, err := start(c, filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr"))
	if err != nil {
		return "", err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		err = ctx.Err()
	}
	if err == nil && p.state.Success() {
		return p.Stdout(), nil
	}
	if err == nil {
		err = errors.New(p.state.String())
	}
	said := strings.TrimSpace(tail(p.Stdout()+p.Stderr(), 2048))
	return p.Stdout(), fmt.Errorf("%s %s: %w: %s", c.Path, strings.Join(c.Args, " "), err, said)
}

// maven runs a goal of Maven in dir. Only one at a time: they share the repository in the home folder, which Maven
// does not guard against other processes.
func maven(ctx context.Context, dir string, args ...string) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	return underLock(ctx, filepath.Join(cache, "maven.lock"), func(ctx context.Context) error {
		_, err := runTool(ctx, Command{Path: "mvn", Dir: dir, Args: append([]string{"-q", "-B"}, args...)})
		return err
	})
}

// mavenArchive unpacks the .tar.gz of a Maven artifact (group:artifact:version) into the cache.
func mavenArchive(ctx context.Context, coordinates string) (string, error) {
	_, name, _ := strings.Cut(coordinates, ":")
	name = strings.ReplaceAll(name, ":", "-")
	return installed(ctx, name, func(ctx context.Context, dir string) error {
		artifact := "-Dartifact=" + coordinates + ":tar.gz:bin"
		if err := maven(ctx, dir, "dependency:copy", artifact, "-DoutputDirectory="+dir); err != nil {
			return err
		}
		archive := filepath.Join(dir, name+"-bin.tar.gz")
		if _, err := runTool(ctx, Command{Path: "tar", Args: []string{"-xzf", archive, "-C", dir}}); err != nil {
			return err
		}
		return os.Remove(archive)
	})
}

// npmPackage installs a package of npm by its version and returns the folder node_modules with it.
func npmPackage(ctx context.Context, name, version string) (string, error) {
	dir, err := installed(ctx, name+"-"+version, func(ctx context.Context, dir string) error {
		_, err := runTool(ctx, Command{Path: "npm", Dir: dir, Args: []string{"install", "--prefix", dir,
			"--no-audit", "--no-fund", "--no-save", name + "@" + version}})
		return err
	})
	return filepath.Join(dir, "node_modules"), err
}

// goProgram builds a program of a Go module from the sources of a version and returns its path.
func goProgram(ctx context.Context, path, version string) (string, error) {
	name := filepath.Base(path)
	dir, err := installed(ctx, name+"-"+version, func(ctx context.Context, dir string) error {
		_, err := runTool(ctx, Command{Path: "go", Dir: dir, Args: []string{"install", path + "@" + version},
			Env: []string{"GOBIN=" + dir, "CGO_ENABLED=0", "GOFLAGS="}})
		return err
	})
	return filepath.Join(dir, name), err
}

// debianPackage installs packages of Debian where missing says that they are, which it can for root alone.
func debianPackage(ctx context.Context, missing func() error, packages ...string) error {
	if missing() == nil {
		return nil
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	return underLock(ctx, filepath.Join(cache, "apt.lock"), func(ctx context.Context) error {
		err := missing()
		if err == nil {
			return nil
		}
		ask := "install the Debian package " + strings.Join(packages, " and ")
		if os.Getuid() != 0 {
			return fmt.Errorf("%w (%s)", err, ask)
		}
		if _, lookErr := exec.LookPath("apt-get"); lookErr != nil {
			return fmt.Errorf("%w (%s, or its like: there is no apt-get here)", err, ask)
		}
		if _, err := bed.apt.get(func() (bool, error) {
			_, err := runTool(ctx, Command{Path: "apt-get", Args: []string{"-qq", "update"}})
			return err == nil, err
		}); err != nil {
			return err
		}
		args := append([]string{"-qq", "-y", "--no-install-recommends", "install"}, packages...)
		env := []string{"DEBIAN_FRONTEND=noninteractive"}
		if _, err := runTool(ctx, Command{Path: "apt-get", Args: args, Env: env}); err != nil {
			return err
		}
		return missing()
	})
}

// java returns the path of a program of the Java kit: java or javac.
func java(program string) string {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		return filepath.Join(home, "bin", program)
	}
	return program
}
