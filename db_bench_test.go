package sessiond

import (
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// BenchmarkDB is what a Go program pays that has its sessions inside: a resident session is
// read without an allocation, and touched without waiting for the disk.
func BenchmarkDB(b *testing.B) {
	store, err := Open(b.TempDir(), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	db, ctx := store.DB(0), b.Context()
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("sess:%032d", i)
		if err := db.Set(ctx, names[i], make([]byte, 512), time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	value := make([]byte, 0, 1024)
	for name, operate := range map[string]func(key string) (bool, error){
		"Get": func(key string) (found bool, err error) {
			_, found, err = db.AppendValue(ctx, value[:0], key)
			return found, err
		},
		"Touch": func(key string) (bool, error) { return db.Touch(ctx, key, 2*time.Hour) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if found, err := operate(names[i*7919%len(names)]); !found || err != nil {
					b.Fatal(found, err)
				}
			}
		})
	}
}
