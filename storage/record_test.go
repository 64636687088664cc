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

// Ensure that a joined barrier asks for all that either asks for.
func TestBarrier_Join(t *testing.T) {
	t.Parallel()
	tests := []struct{ a, b, want storage.Barrier }{
		{storage.Barrier{}, storage.Barrier{}, storage.Barrier{}},
		{storage.Barrier{System: 3}, storage.Barrier{}, storage.Barrier{System: 3}},
		{storage.Barrier{System: 3, Disk: 1}, storage.Barrier{System: 2, Disk: 2}, storage.Barrier{System: 3, Disk: 2}},
	}
	for _, test := range tests {
		if got := test.a.Join(test.b); got != test.want {
			t.Errorf("%+v.Join(%+v) = %+v, want %+v", test.a, test.b, got, test.want)
		}
		if got := test.b.Join(test.a); got != test.want {
			t.Errorf("%+v.Join(%+v) = %+v, want %+v", test.b, test.a, got, test.want)
		}
	}
}
