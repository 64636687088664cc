package storage_test

import (
	"testing"

	"github.com/sessiond/sessiond/storage"
)

// Ensure that TYPE can name each kind, and says so of one it does not know.
func TestKind_String(t *testing.T) {
	t.Parallel()
	for kind, want := range map[storage.Kind]string{storage.KindString: "string", 0: "unknown", 200: "unknown"} {
		if got := kind.String(); got != want {
			t.Errorf("Kind(%d).String() = %q, want %q", kind, got, want)
		}
	}
}
