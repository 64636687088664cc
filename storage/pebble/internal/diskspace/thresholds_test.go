package diskspace

import "testing"

// Ensure that sizes follow from the disk as the decision on room says.
func TestThresholdsOf(t *testing.T) {
	t.Parallel()
	const kb, mb, gb = 1 << 10, 1 << 20, 1 << 30
	tests := []struct {
		name            string
		total, memTable int64
		want            thresholds
	}{
		{"smallest quota", 32 * mb, 64 * mb,
			thresholds{headroom: 8 * mb, ballastSize: 2 * mb, memTable: mb, first: 64 * kb, table: 512 * kb, base: 2 * mb}},
		{"96 MB", 96 * mb, 64 * mb,
			thresholds{headroom: 8 * mb, ballastSize: 2 * mb, memTable: mb, first: 64 * kb, table: 512 * kb, base: 2 * mb}},
		{"1 GB", gb, 64 * mb,
			thresholds{headroom: 64 * mb, ballastSize: 16 * mb, memTable: 8 * mb, first: 512 * kb, table: 4 * mb, base: 16 * mb}},
		{"1 GB, small cache", gb, 4 * mb,
			thresholds{headroom: 64 * mb, ballastSize: 8 * mb, memTable: 4 * mb, first: 512 * kb, table: 4 * mb, base: 16 * mb}},
		{"100 GB", 100 * gb, 64 * mb,
			thresholds{headroom: gb, ballastSize: 128 * mb, memTable: 64 * mb, first: 2 * mb, table: 64 * mb, base: 64 * mb}},
		{"no end", unlimited, 64 * mb,
			thresholds{headroom: gb, ballastSize: 128 * mb, memTable: 64 * mb, first: 2 * mb, table: 64 * mb, base: 64 * mb}},
	}
	for _, tt := range tests {
		if got := thresholdsOf(tt.total, tt.memTable); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// Ensure that for every size of disk the classes are refused in their order, that compactions
// stop above what deletions need and fit into what is kept, and that most is left for sessions.
func TestThresholds_Order(t *testing.T) {
	t.Parallel()
	for total := int64(MinQuota); total < 1<<50; total += total / 3 {
		for memTable := int64(4 << 20); memTable <= 16<<20; memTable *= 2 {
			g := thresholdsOf(total, memTable)
			thresholds := []int64{g.Threshold(ClassInsert), g.Threshold(ClassExtend), g.CompactionThreshold(), g.Threshold(ClassDelete) + g.Margin() + g.Hysteresis(ClassDelete), g.Threshold(ClassDelete), 0}
			for i := range thresholds[1:] {
				if thresholds[i] <= thresholds[i+1] {
					t.Errorf("%d bytes, tables of %d: thresholds %v", total, memTable, thresholds)
				}
			}
			if left := g.ballastSize - g.flushLeaves(); left < g.memTable+g.memTable/8 {
				t.Errorf("%d bytes: %d of the reserve are for flushes, and a table in memory has %d", total, left, g.memTable)
			}
			if g.flushLeaves() <= g.Threshold(ClassDelete)+g.Margin() {
				t.Errorf("%d bytes: a flush leaves %d of the reserve, and nothing can be deleted below %d",
					total, g.flushLeaves(), g.Threshold(ClassDelete)+g.Margin())
			}
			if g.headroom < 12*g.table || g.headroom < 2*MaxDepth*g.first {
				t.Errorf("%d bytes: a compaction of tables of %d and %d does not fit into %d", total, g.table, g.first, g.headroom)
			}
			if g.Threshold(ClassInsert) > total/3 {
				t.Errorf("%d bytes: %d are kept", total, g.Threshold(ClassInsert))
			}
		}
	}
}
