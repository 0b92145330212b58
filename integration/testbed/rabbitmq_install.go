package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// rabbitMQRelease is the release of Debian with RabbitMQ 4. It need not be the one that runs here.
const rabbitMQRelease = "trixie"

// installRabbitMQ returns the folder that is "/" of RabbitMQ's packages, with Erlang and the C library they were built
// for. Their programs work from wherever that folder is.
func installRabbitMQ(ctx context.Context) (string, error) {
	return installed(ctx, "debian-"+rabbitMQRelease+"-rabbitmq-server", func(ctx context.Context, dir string) error {
		if err := unpackDebian(ctx, dir, "rabbitmq-server", otherRelease(ctx, rabbitMQRelease, "deb")); err != nil {
			return err
		}
		return relocateErlang(dir)
	})
}

// erlangRoot is where the packages have Erlang.
const erlangRoot = "usr/lib/erlang"

// runsWithOwnLibrary is the script in the place of a program, which is beside it as NAME.elf: the system's own C
// library may be older than the one that the program needs. %[1]s is the folder of the libraries, %[2]s the loader.
const runsWithOwnLibrary = `#!/bin/sh
root=${0%%/usr/lib/erlang/*}
exec "$root/%[1]s/%[2]s" --library-path "$root/%[1]s" "$0.elf" "$@"
`

// startsErlang is the script erl, which in the package knows only the place where Debian has it. %s is the folder of
// the runtime system.
const startsErlang = `#!/bin/sh
ROOTDIR=${0%%/usr/lib/erlang/*}/usr/lib/erlang
BINDIR=$ROOTDIR/%s/bin EMU=beam PROGNAME=erl
export ROOTDIR BINDIR EMU PROGNAME
exec "$BINDIR/erlexec" "$@"
`

// relocateErlang makes the Erlang below root independent of the place and of the libraries of the system, without a
// path of the machine in it.
func relocateErlang(root string) error {
	loader, err := onlyMatch(filepath.Join(root, "usr/lib/*-linux-*/ld-linux*.so.*"))
	if err != nil {
		return err
	}
	libraries, err := filepath.Rel(root, filepath.Dir(loader))
	if err != nil {
		return err
	}
	runtime, err := onlyMatch(filepath.Join(root, erlangRoot, "erts-*"))
	if err != nil {
		return err
	}
	for _, pattern := range []string{"erts-*/bin/*", "lib/*/priv/bin/*"} {
		programs, err := filepath.Glob(filepath.Join(root, erlangRoot, pattern))
		if err != nil {
			return err
		}
		for _, program := range programs {
			if err := wrapProgram(program, fmt.Sprintf(runsWithOwnLibrary, libraries, filepath.Base(loader))); err != nil {
				return err
			}
		}
	}
	erl := filepath.Join(root, erlangRoot, "bin", "erl")
	return os.WriteFile(erl, fmt.Appendf(nil, startsErlang, filepath.Base(runtime)), 0o755)
}

// wrapProgram puts a script in the place of a program, unless that is a script itself.
func wrapProgram(path, script string) error {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err == nil && string(magic) != "\x7fELF" {
		return nil
	} else if err != nil {
		return err
	}
	return errors.Join(os.Rename(path, path+".elf"), os.WriteFile(path, []byte(script), 0o755))
}

// onlyMatch returns the one file that a pattern matches.
func onlyMatch(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%s: there are %d of it (%s), not one", pattern, len(found), strings.Join(found, ", "))
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}
