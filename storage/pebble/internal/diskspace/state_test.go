package diskspace

import "testing"

// Ensure that each event changes the state as the package comment draws it, and nothing else of it.
func TestNext(t *testing.T) {
	t.Parallel()
	sizes := thresholdsOf(1<<30, 8<<20)
	least := func(c Class) int64 { return sizes.required(c, 0) }
	// tick is what is measured when so much is left, of the disk and of the quota alike.
	tick := func(left int64) measured { return measured{disk: left, left: left, ballastWhole: true} }
	plenty := tick(1 << 29)
	tests := []struct {
		name   string
		before state
		event  event
		m      measured
		want   state
	}{
		{"an insert finds no space", state{}, eventRefused, measured{class: ClassInsert}, state{level: noInserts, unsaved: true}},
		{"a deletion finds no space", state{level: noInserts}, eventRefused, measured{class: ClassDelete}, state{level: full}},
		{"an insert when all is refused", state{level: full}, eventRefused, measured{class: ClassInsert}, state{level: full}},

		{"ballast is released", state{}, eventBallastReleased, measured{}, state{level: noInserts, unsaved: true}},
		{"ballast is released later", state{level: noExtensions}, eventBallastReleased, measured{}, state{level: noExtensions}},
		{"the last of the ballast", state{level: noInserts}, eventBallastReleased, measured{ballastLow: true}, state{level: full}},

		{"a change while there is space", state{}, eventApplied, measured{}, state{}},
		{"a change while there is none", state{level: noInserts}, eventApplied, measured{}, state{level: noInserts, unsaved: true}},

		{"a compaction finds no space", state{}, eventCompactionFull, measured{}, state{compactionsBlocked: true}},
		{"a compaction of a deep level finds no space", state{depth: MaxDepth / 2}, eventCompactionFull, measured{},
			state{level: noExtensions, compactionsBlocked: true, unsaved: true, depth: MaxDepth / 2}},
		{"a compaction writes", state{level: noExtensions, compactionsBlocked: true}, eventCompacted, measured{}, state{level: noExtensions}},

		{"a flush finds no space", state{}, eventFlushFull, measured{}, state{level: noExtensions, flushBlocked: true, unsaved: true}},
		{"a flush finds no space when all is refused", state{level: full}, eventFlushFull, measured{}, state{level: full, flushBlocked: true}},
		{"a flush writes", state{level: noExtensions, flushBlocked: true}, eventFlushed, measured{}, state{level: noExtensions, depth: 1}},
		{"a flush writes one table too many", state{compactionsBlocked: true, depth: MaxDepth/2 - 1}, eventFlushed, measured{},
			state{level: noExtensions, compactionsBlocked: true, unsaved: true, depth: MaxDepth / 2}},

		{"a measure while a table waits", state{level: full, flushBlocked: true}, eventMeasured, measured{depth: 3}, state{level: full, flushBlocked: true, depth: 3}},
		{"a measure while none waits", state{level: full, flushBlocked: true, depth: 4}, eventMeasured, measured{flushed: true}, state{level: full}},

		{"a tick with space", state{}, eventTick, plenty, state{}},
		{"a tick when there is space again", state{level: full, unsaved: true}, eventTick, plenty, state{unsaved: true}},
		{"a tick without space for inserts", state{}, eventTick, tick(least(ClassInsert) - 1), state{level: noInserts, unsaved: true}},
		{"a tick with just enough for inserts", state{}, eventTick, tick(least(ClassInsert)), state{}},
		{"a tick with hardly more after inserts were refused", state{level: noInserts}, eventTick, tick(least(ClassInsert)), state{level: noInserts}},
		{"a tick with somewhat more", state{level: noInserts}, eventTick, tick(least(ClassInsert) + sizes.Hysteresis(ClassInsert)), state{}},
		{"a tick without space for extensions", state{}, eventTick, tick(least(ClassExtend) - 1), state{level: noExtensions, unsaved: true}},
		{"a tick without any space", state{}, eventTick, tick(0), state{level: full, unsaved: true}},
		{"a tick at the quota", state{}, eventTick, measured{disk: 1 << 29, ballastWhole: true}, state{level: noExtensions, unsaved: true}},
		{"a tick with much to merge", state{}, eventTick, measured{disk: 1 << 29, left: least(ClassInsert), unmerged: 1, ballastWhole: true},
			state{level: noInserts, unsaved: true}},
		{"a tick that cannot refill the ballast", state{}, eventTick, measured{disk: 1 << 29, left: 1 << 29}, state{level: noInserts, unsaved: true}},
		{"a tick with little ballast", state{}, eventTick, measured{disk: 1 << 29, left: 1 << 29, ballastLow: true}, state{level: full, unsaved: true}},
		{"a tick while a flush is blocked", state{level: full, flushBlocked: true}, eventTick, plenty, state{level: noExtensions, flushBlocked: true}},
		{"a tick while compactions are blocked", state{level: noInserts, compactionsBlocked: true}, eventTick, plenty, state{compactionsBlocked: true}},
		{"a tick while tables pile up", state{compactionsBlocked: true, depth: MaxDepth / 2}, eventTick, plenty,
			state{level: noExtensions, compactionsBlocked: true, unsaved: true, depth: MaxDepth / 2, deepTicks: 1}},
		{"a tick that finds the level deep again", state{depth: MaxDepth / 2, deepTicks: 7}, eventTick, plenty, state{depth: MaxDepth / 2, deepTicks: 8}},
		{"a tick that finds it deep no more", state{depth: MaxDepth/2 - 1, deepTicks: 7}, eventTick, plenty, state{depth: MaxDepth/2 - 1}},

		{"a checkpoint", state{level: full, unsaved: true, deepTicks: 7}, eventCheckpoint, measured{}, state{level: full}},
		{"a checkpoint of nothing", state{level: full, deepTicks: 7}, eventCheckpoint, measured{}, state{level: full, deepTicks: 7}},
	}
	for _, tt := range tests {
		if got := sizes.next(tt.before, tt.event, tt.m); got != tt.want {
			t.Errorf("%s: %+v becomes %+v, want %+v", tt.name, tt.before, got, tt.want)
		}
	}
}

// Ensure that an event which changes nothing allocates nothing: changes are such events while the
// disk is full.
func TestMachine_Apply_AllocatesNothing(t *testing.T) {
	m := newMachine(thresholdsOf(1<<30, 8<<20), nil)
	m.current.Store(&state{level: full, unsaved: true})
	if n := testing.AllocsPerRun(100, func() { m.apply(eventApplied, measured{}) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
