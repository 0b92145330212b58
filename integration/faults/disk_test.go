//go:build integration

package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
)

func diskRounds() []namedRound {
	return []namedRound{{diskFull, fullDisk}, {diskReadOnly, readOnlyDisk}}
}

// tmpfsOctets is the size of a spool's disk: its journal, twice while it is written anew, and some mails.
const tmpfsOctets = 16 << 20

// mountTmpfs mounts a disk of memory at dir, which it makes.
func mountTmpfs(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		fmt.Fprintf(os.Stderr, "SKIP: %s: only root can mount a tmpfs\n", t.Name())
		t.Skip("SKIP: only root can mount a tmpfs")
	}
	must(t, os.MkdirAll(dir, 0o700))
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", tmpfsOctets)))
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// onDisk prepares a round whose spool is on a disk of its own.
func onDisk(t *testing.T) (*round, *instance, *testbed.Proxy) {
	behind, link := testbed.Artemis(t).Proxied(t)
	r := newRound(t, behind, newBucket(t))
	disk := filepath.Join(t.TempDir(), "disk")
	mountTmpfs(t, disk)
	i := r.instance("fallback", settings{"spool.dir": filepath.Join(disk, "spool"), "broker.settle_timeout": "2s", "spool.after": "1s"})
	return r, i, link
}

// refusals counts the tries that were refused for now.
func refusals(tr traffic) (traffic, *atomic.Int64) {
	var n atomic.Int64
	tr.seen = func(_ *mail, _ time.Time, err error) {
		var r *refusal
		if errors.As(err, &r) && strings.HasPrefix(r.reply, "45") {
			n.Add(1)
		}
	}
	return tr, &n
}

// fullDisk has the broker away until the spool's disk is full.
func fullDisk(t *testing.T) {
	r, i, link := onDisk(t)
	for n := range wanted(diskFull) {
		i.start(t, settings{"spool.mode": modes[1-n%2]})
		i.waitReady(t)
		tr, refused := refusals(traffic{clients: 8, pause: 10 * time.Millisecond, several: true, impolite: true, addrs: []string{i.smtp}, weights: [3]int{60, 30, 1}})
		if n%2 == 1 {
			tr.weights, tr.pause = [3]int{60, 1, 0}, time.Millisecond // records without the octets of objects are small
		}
		l := r.startLoad(tr)
		l.waitAcked(20)
		r.cut(func() {
			link.Refuse(true)
			link.Reset()
			eventually(t, "mail to be refused as the disk is full", patience, func() bool { return refused.Load() > 50 })
			counts.add(diskFull)
			if r.rand.IntN(2) == 0 {
				i.Kill()
				i.start(t, nil)
			}
			r.pause(500*time.Millisecond, 2*time.Second)
			link.Refuse(false)
		})
		l.waitAcked(50)
		l.finish()
		i.waitEmpty(t)
		i.stop(t)
	}
	i.start(t, nil)
	r.verify()
	i.stop(t)
}

// readOnlyDisk has the spool's disk read-only: where its records are written while it runs, and all of it at a start.
func readOnlyDisk(t *testing.T) {
	r, i, link := onDisk(t)
	disk, tmp := filepath.Dir(i.spool), filepath.Join(i.spool, "tmp")
	for range wanted(diskReadOnly) {
		i.start(t, nil)
		i.waitReady(t)
		tr, refused := refusals(ordinary(i))
		l := r.startLoad(tr)
		l.waitAcked(20)
		r.cut(func() {
			link.Refuse(true)
			link.Reset()
			l.waitAcked(20) // spooled
			// A disk with a file that is open for writing cannot be made read-only, but another one can lie over it.
			must(t, syscall.Mount("tmpfs", tmp, "tmpfs", syscall.MS_RDONLY, ""))
			counts.add(diskReadOnly)
			eventually(t, "mail to be refused as the disk is read-only", patience, func() bool { return refused.Load() > 20 })
			must(t, syscall.Unmount(tmp, 0))
			l.waitAcked(20) // spooled again
			r.refusesReadOnly(i, disk)
			link.Refuse(false)
		})
		l.waitAcked(20)
		l.finish()
		i.waitEmpty(t)
		i.stop(t)
	}
	i.start(t, nil)
	r.verify()
	i.stop(t)
}

// refusesReadOnly wants lsmtpd to start on a read-only disk with an error, and to lose nothing by it.
func (r *round) refusesReadOnly(i *instance, disk string) {
	t := r.t
	t.Helper()
	i.Kill()
	must(t, syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	p := testbed.Run(t, i.command(nil, "serve"))
	if code := p.ExitCode(t, patience); code != 2 {
		t.Errorf("serve with a spool on a read-only disk: exit code %d, want 2", code)
	}
	must(t, syscall.Mount("", disk, "", syscall.MS_REMOUNT, fmt.Sprint("size=", tmpfsOctets)))
	i.start(t, nil)
}
