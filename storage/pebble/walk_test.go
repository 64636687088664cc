package pebble

import (
	"maps"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that who walks takes what the memory has while nobody commits.
func TestReader_Scan_WaitsForCommits(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	put(t, e, "a", "1", ttl.Never)
	e.commits.RLock() // as a commit
	over := sync.OnceFunc(e.commits.RUnlock)
	defer over()
	var group sync.WaitGroup
	group.Go(func() {
		if n := len(survey(t, e)); n != 1 {
			t.Errorf("%d records, want 1", n)
		}
	})
	eventually(t, "who walks waits for a commit", func() bool {
		free := e.commits.TryRLock()
		if free {
			e.commits.RUnlock()
		}
		return !free
	})
	over()
	group.Wait()
}

// Ensure that what changes while a checkpoint is under way hides what the tree has, and what is on its way
// to it.
func TestReader_Scan_Generations(t *testing.T) {
	t.Parallel()
	for name, size := range caches {
		e := openTest(t, vfs.NewMem(), Options{RecordBytes: size})
		for _, record := range []string{"deleted in the tree", "touched in the tree", "kept in the tree"} {
			put(t, e, record, "old", 100)
		}
		bring(t, e)
		for _, record := range []string{"deleted on its way", "touched on its way", "written on its way", "kept on its way"} {
			put(t, e, record, "old", 100)
		}
		if !e.freeze() {
			t.Fatal("there is nothing to freeze")
		}
		for _, where := range []string{" in the tree", " on its way"} {
			k := keyOf("deleted" + where)
			update(t, e, func(tx storage.Txn) error { return tx.Delete(k) }, k)
			setDeadline(t, e, "touched"+where, 200)
		}
		put(t, e, "written on its way", "new", 300)
		want := world{
			spot{0, "touched in the tree"}: {"old", 200}, spot{0, "kept in the tree"}: {"old", 100},
			spot{0, "touched on its way"}: {"old", 200}, spot{0, "written on its way"}: {"new", 300},
			spot{0, "kept on its way"}: {"old", 100},
		}
		if found := survey(t, e); !maps.Equal(found, want) {
			t.Errorf("%s: found %v, want %v", name, found, want)
		}
		update(t, e, func(tx storage.Txn) error { return tx.Flush(0) })
		put(t, e, "new", "new", 400)
		want = world{spot{0, "new"}: {"new", 400}}
		for _, when := range []string{"before the checkpoint", "behind it"} {
			if found := survey(t, e); !maps.Equal(found, want) {
				t.Errorf("%s, %s: found %v, want %v", name, when, found, want)
			}
			bring(t, e)
		}
		closeTest(t, e)
	}
}
