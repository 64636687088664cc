package server

import (
	"slices"
	"strings"
	"testing"
)

// Ensure that the flags which no reply lists are those of the commands that Redis treats in
// this way.
func TestTable_OwnFlags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		flag flags
		want string
	}{
		{"immediate", immediate, "discard exec multi quit reset watch"},
		{"runsQueue", runsQueue, "exec"},
		{"selects", selects, "select"},
		{"inSubscription", inSubscription, "ping quit reset"},
		{"hangsUp", hangsUp, "quit"},
		{"fraction", fraction, "incrbyfloat"},
	}
	for _, tt := range tests {
		var got []string
		for _, cmd := range newTable().all {
			if cmd.is(tt.flag) {
				got = append(got, cmd.fullName())
			}
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, text, tt.want)
		}
	}
}
