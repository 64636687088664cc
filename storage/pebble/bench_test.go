package pebble

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// The hot paths must not allocate for each key; -benchmem shows it.

const benchKeys = 10_000

func openBench(b *testing.B) (*Engine, []storage.Scope) {
	b.Helper()
	e, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
	scopes := make([]storage.Scope, benchKeys)
	value := bytes.Repeat([]byte("session "), 75)
	for i := range scopes {
		k := storage.Key{Name: fmt.Appendf(nil, "sess:%032d", i)}
		scopes[i] = storage.Scope{Keys: []storage.Key{k}}
		_, err := e.Update(context.Background(), scopes[i], func(tx storage.Txn) error {
			return tx.Put(k, storage.Record{Kind: storage.KindString, Value: value, Deadline: 1 << 40})
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return e, scopes
}

func BenchmarkEngine_Get(b *testing.B) {
	e, scopes := openBench(b)
	ctx := context.Background()
	b.ReportAllocs()
	i := 0
	get := func(r storage.Reader) error {
		_, found, err := r.Get(scopes[i%benchKeys].Keys[0])
		if !found {
			b.Error("no record")
		}
		return err
	}
	for b.Loop() {
		if _, err := e.View(ctx, scopes[i%benchKeys], get); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkEngine_Stat_Absent(b *testing.B) {
	e, _ := openBench(b)
	ctx := context.Background()
	k := storage.Key{Name: []byte("sess:absent")}
	scope := storage.Scope{Keys: []storage.Key{k}}
	b.ReportAllocs()
	stat := func(r storage.Reader) error {
		_, _, err := r.Stat(k)
		return err
	}
	for b.Loop() {
		if _, err := e.View(ctx, scope, stat); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEngine_SetDeadline(b *testing.B) {
	e, scopes := openBench(b)
	ctx := context.Background()
	b.ReportAllocs()
	i := 0
	touch := func(tx storage.Txn) error {
		return tx.SetDeadline(scopes[i%benchKeys].Keys[0], ttl.Instant(1<<40+i))
	}
	for b.Loop() {
		if _, err := e.Update(ctx, scopes[i%benchKeys], touch); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkEngine_Put(b *testing.B) {
	e, scopes := openBench(b)
	ctx := context.Background()
	value := bytes.Repeat([]byte("session "), 75)
	b.ReportAllocs()
	i := 0
	put := func(tx storage.Txn) error {
		return tx.Put(scopes[i%benchKeys].Keys[0],
			storage.Record{Kind: storage.KindString, Value: value, Deadline: ttl.Instant(1<<40 + i)})
	}
	for b.Loop() {
		if _, err := e.Update(ctx, scopes[i%benchKeys], put); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// One connection that waits for each change, by durability.
func BenchmarkEngine_Put_Sync(b *testing.B) {
	for _, lax := range []bool{false, true} {
		b.Run(fmt.Sprintf("lax=%v", lax), func(b *testing.B) {
			e, scopes := openBench(b)
			if lax {
				e.durability.Store(int64(storage.EverySec))
			}
			ctx := context.Background()
			b.ReportAllocs()
			i := 0
			put := func(tx storage.Txn) error {
				return tx.Put(scopes[i%benchKeys].Keys[0], storage.Record{Kind: storage.KindString, Value: []byte("v")})
			}
			for b.Loop() {
				barrier, err := e.Update(ctx, scopes[i%benchKeys], put)
				if err == nil {
					err = e.Sync(ctx, barrier)
				}
				if err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

func BenchmarkEngine_Sync_Covered(b *testing.B) {
	e, _ := openBench(b)
	ctx := context.Background()
	barrier := storage.Barrier(1)
	if err := e.Sync(ctx, barrier); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Sync(ctx, barrier); err != nil {
			b.Fatal(err)
		}
	}
}

// Many connections that wait for each change share the syncs.
func BenchmarkEngine_Put_Sync_Parallel(b *testing.B) {
	for _, connections := range []int{16, 50, 200} {
		b.Run(fmt.Sprint(connections), func(b *testing.B) {
			e, scopes := openBench(b)
			ctx := context.Background()
			value := bytes.Repeat([]byte("session "), 75)
			var next atomic.Int64
			b.SetParallelism(max(1, connections/runtime.GOMAXPROCS(0)))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					scope := scopes[next.Add(1)%benchKeys]
					barrier, err := e.Update(ctx, scope, func(tx storage.Txn) error {
						return tx.Put(scope.Keys[0], storage.Record{Kind: storage.KindString, Value: value, Deadline: 1 << 40})
					})
					if err == nil {
						err = e.Sync(ctx, barrier)
					}
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// A sweep of nothing must not walk the tombstones of all who logged out.
func BenchmarkEngine_Sweep_AfterLogouts(b *testing.B) {
	e, scopes := openBench(b)
	ctx := context.Background()
	for _, scope := range scopes {
		_, err := e.Update(ctx, scope, func(tx storage.Txn) error { return tx.Delete(scope.Keys[0]) })
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	now := ttl.Instant(1000)
	for b.Loop() {
		if n, next, err := e.Sweep(ctx, now, 512); n != 0 || next != ttl.Never || err != nil {
			b.Fatal(n, next, err)
		}
		now++
	}
}

// One operation is one record that is due.
func BenchmarkEngine_Sweep(b *testing.B) {
	e, scopes := openBench(b)
	ctx := context.Background()
	now := ttl.Instant(1 << 40)
	left := benchKeys
	for b.Loop() {
		if left == 0 {
			b.StopTimer()
			now++
			for _, scope := range scopes {
				_, err := e.Update(ctx, scope, func(tx storage.Txn) error {
					return tx.Put(scope.Keys[0], storage.Record{Kind: storage.KindString, Deadline: now})
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			left = benchKeys
			b.StartTimer()
		}
		if left--; left%512 == 0 {
			if _, _, err := e.Sweep(ctx, now, 512); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkEngine_ManyKeys is a DEL of 200,000 keys that do not exist.
func BenchmarkEngine_ManyKeys(b *testing.B) {
	e, _ := openBench(b)
	var scope storage.Scope
	for i := range 200_000 {
		scope.Keys = append(scope.Keys, storage.Key{Name: fmt.Appendf(nil, "absent:%d", i)})
	}
	remove := func(tx storage.Txn) error {
		for _, k := range scope.Keys {
			if _, found, err := tx.Stat(k); found || err != nil {
				return fmt.Errorf("%q is there, or %w", k.Name, err)
			}
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
		return nil
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Update(context.Background(), scope, remove); err != nil {
			b.Fatal(err)
		}
	}
}
