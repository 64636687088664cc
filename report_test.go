package sessiond

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"testing"

	"github.com/sessiond/sessiond/storage/pebble"
	"github.com/sessiond/sessiond/storage/pebble/backup"
	"github.com/sessiond/sessiond/storage/pebble/repair"
)

// Ensure that a report of the engine loses nothing on its way to the program, and that one of a
// backup has the names that the control socket sends.
func TestReports_LoseNothing(t *testing.T) {
	t.Parallel()
	var checked repair.CheckReport
	var repaired repair.RepairReport
	var last int64
	fill(t, reflect.ValueOf(&checked).Elem(), &last)
	fill(t, reflect.ValueOf(&repaired).Elem(), &last)
	made := backup.Report{Made: 1700000000123, Records: map[int]int64{3: 5}, Bytes: 7, Copied: 6}
	tests := []struct {
		got  any
		want string
	}{
		{checkReport(checked), toJSON(t, checked)},
		{checkReport(repair.CheckReport{}), toJSON(t, repair.CheckReport{})},
		{repairReport(repaired), toJSON(t, repaired)},
		{repairReport(repair.RepairReport{}), toJSON(t, repair.RepairReport{})},
		{BackupReport(made), `{"Made":1700000000123,"Records":{"3":5},"Bytes":7,"Copied":6}`},
	}
	for _, tt := range tests {
		if got := toJSON(t, tt.got); got != tt.want {
			t.Errorf("%T\n%s, want\n%s", tt.got, got, tt.want)
		}
	}
}

// Ensure that an error of the engine and that of this package are the same to errors.Is.
func TestErrors_AreThoseOfTheEngine(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]error{
		{ErrIncomplete, backup.ErrIncomplete}, {ErrNoStore, pebble.ErrNoStore}, {ErrManifest, repair.ErrManifest},
		{ErrLocked, pebble.ErrLocked}, {ErrForeign, pebble.ErrForeign}, {ErrNewerFormat, pebble.ErrNewerFormat},
		{ErrDamaged, pebble.ErrDamaged},
	} {
		if !errors.Is(pair[0], pair[1]) || !errors.Is(pair[1], pair[0]) {
			t.Errorf("%v is not %v", pair[0], pair[1])
		}
	}
}

// fill sets each number and each text in v to a value of its own, counting on from last.
func fill(t *testing.T, v reflect.Value, last *int64) {
	t.Helper()
	*last++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), last)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), last)
		}
	case reflect.String:
		v.SetString(strconv.FormatInt(*last, 10))
	case reflect.Int, reflect.Int64:
		v.SetInt(*last)
	default:
		t.Fatalf("fill knows no %v", v.Type())
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
