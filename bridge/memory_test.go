package bridge

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"lsmtpd/extract"
)

func testMemory() (*memory, Config) {
	cfg := Config{Limits: extract.Limits{MaxHeaderBytes: 1 << 20, MaxParts: 1000}, MaxInlineBytes: 256 << 10, MaxPublishBytes: 1 << 20}
	cfg.Memory = MinMemory(cfg)
	return newMemory(cfg), cfg
}

func TestWholeShareIsGivenOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := testMemory()
		first, err := m.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		second, err := m.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := first.use(t.Context(), ordinaryShare+m.largeShare+1); err != nil {
			t.Fatal(err)
		}
		grown := make(chan error, 1)
		go func() { grown <- second.use(t.Context(), ordinaryShare+m.largeShare+1) }()
		synctest.Wait()
		select {
		case <-grown:
			t.Fatal("two whole shares at a time in a budget for one")
		default:
		}
		first.release()
		if err := <-grown; err != nil {
			t.Fatal(err)
		}
		second.release()
	})
}

func TestOrdinaryMailFlowsBesideAHugeOne(t *testing.T) {
	m, _ := testMemory()
	huge, err := m.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer huge.release()
	if err := huge.grow(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		s, err := m.take(t.Context())
		if err == nil {
			err = s.use(t.Context(), int64(i)*m.largeShare/1000) // texts of up to some hundred kilobytes
		}
		if err != nil {
			t.Fatal(err)
		}
		s.release()
	}
}

func TestMemoryWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, cfg := testMemory()
		for range cfg.Memory / 2 / ordinaryShare {
			if _, err := m.take(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		_, err := m.take(t.Context())
		if !errors.Is(err, errMemory) || time.Since(begun) != memoryWait {
			t.Errorf("error %v after %v, want errMemory after %v", err, time.Since(begun), memoryWait)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.take(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that of the context", err)
		}
	})
}
