package pebble

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// openLogBench makes a store with a small log and returns the scopes of benchKeys sessions in it.
func openLogBench(b *testing.B, dir string) (*Engine, []storage.Scope) {
	b.Helper()
	e, err := Open(dir, Options{LogBytes: 16 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
	scopes := make([]storage.Scope, benchKeys)
	for i := range scopes {
		k := storage.Key{Name: fmt.Appendf(nil, "sess:%032d", i)}
		scopes[i] = storage.Scope{Keys: []storage.Key{k}}
		if _, err := e.Update(context.Background(), scopes[i], putBench(k, i)); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.checkpoint(context.Background()); err != nil {
		b.Fatal(err)
	}
	return e, scopes
}

// fillLog makes changes until the log holds share percent of what fits it. No checkpoint runs.
func fillLog(b *testing.B, e *Engine, scopes []storage.Scope, share int, change benchChange) {
	b.Helper()
	e.checkpoints.running <- struct{}{}
	defer func() { <-e.checkpoints.running }()
	for i := 0; e.log.Room() > e.log.Capacity()*(100-share)/100; i++ {
		scope := scopes[i%len(scopes)]
		_, err := e.Update(context.Background(), scope, change(scope.Keys[0], i))
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := e.await(context.Background(), e.logEnd()); err != nil {
		b.Fatal(err)
	}
}

// benchChange returns the i-th change, of the session k.
type benchChange func(k storage.Key, i int) func(storage.Txn) error

var benchChanges = map[string]benchChange{"puts": putBench, "touches": touchBench}

func putBench(k storage.Key, i int) func(storage.Txn) error {
	return func(tx storage.Txn) error {
		return tx.Put(k, storage.Record{Kind: storage.KindString, Value: make([]byte, 600), Deadline: ttl.Instant(1<<40 + i)})
	}
}

func touchBench(k storage.Key, i int) func(storage.Txn) error {
	return func(tx storage.Txn) error { return tx.SetDeadline(k, ttl.Instant(1<<41+i)) }
}

// One operation is a start after kill -9, with a log that is as full as it gets. MB/s are of the log.
func BenchmarkOpen_FullLog(b *testing.B) {
	for name, change := range benchChanges {
		b.Run(name, func(b *testing.B) {
			dir, parent := b.TempDir(), b.TempDir()
			e, scopes := openLogBench(b, dir)
			fillLog(b, e, scopes, 85, change)
			b.SetBytes(int64(e.log.End() - e.followed()))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				killed := filepath.Join(parent, strconv.Itoa(i))
				if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				again, err := Open(killed, Options{})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := again.Close(); err != nil {
					b.Fatal(err)
				}
				if err := os.RemoveAll(killed); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// One operation is a checkpoint of a log that is half full. MB/s are of the log.
func BenchmarkCheckpoint(b *testing.B) {
	for name, change := range benchChanges {
		b.Run(name, func(b *testing.B) {
			e, scopes := openLogBench(b, b.TempDir())
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				fillLog(b, e, scopes, 50, change)
				b.SetBytes(int64(e.log.End() - e.followed()))
				b.StartTimer()
				if err := e.checkpoint(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
