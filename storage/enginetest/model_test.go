package enginetest_test

import (
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/enginetest"
)

func model() enginetest.Factory {
	return enginetest.Factory{
		Open: func(testing.TB) storage.Engine { return enginetest.NewModel() },
	}
}

// Ensure that the oracle keeps the contract it is used to judge others by.
func TestModel(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, model())
}

// Ensure that the random run agrees with itself: two models answer alike.
func TestModel_Random(t *testing.T) {
	t.Parallel()
	enginetest.RunModel(t, model(), 0, 0)
}

// Ensure that the model takes back what its callers may not keep.
func TestModel_Strict(t *testing.T) {
	t.Parallel()
	e := enginetest.NewModel()
	k := storage.Key{Name: []byte("name")}
	var value, name []byte
	var kept storage.Reader
	_, err := e.Update(t.Context(), storage.Whole, func(tx storage.Txn) error {
		if err := tx.Put(k, storage.Record{Kind: storage.KindString, Value: []byte("value")}); err != nil {
			return err
		}
		r, _, err := tx.Get(k)
		value, kept = r.Value, tx
		if err != nil {
			return err
		}
		_, err = tx.Scan(0, 0, 10, func(k storage.Key, _ storage.Record) bool { name = k.Name; return true })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(value) != "\x00\x00\x00\x00\x00" || string(name) != "\x00\x00\x00\x00" {
		t.Errorf("kept value %q and name %q, want them wiped", value, name)
	}
	defer func() {
		if recover() == nil {
			t.Error("a Txn can be used after Update has returned")
		}
	}()
	_, _ = kept.Len(0) // panics
}
