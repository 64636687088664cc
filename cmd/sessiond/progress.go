package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress draws a bar for each stage of a tool on a terminal, and nothing elsewhere.
type progress struct {
	terminal io.Writer // nil if there is none
	stages   []string  // the stages that have not begun
	bar      *progressbar.ProgressBar
	done     int64
}

// redrawn is the least time between two drawings of a bar.
const redrawn = 100 * time.Millisecond

func newProgress(w io.Writer, stages ...string) *progress {
	p := &progress{stages: stages}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		if err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.terminal = f
		}
	}
	return p
}

// show draws the progress of the stage. If done is less than before, the next stage has begun.
func (p *progress) show(done, total int64) {
	if p.terminal == nil {
		return
	}
	if (p.bar == nil || done < p.done) && len(p.stages) > 0 {
		p.clear()
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.terminal),
			progressbar.OptionSetDescription(p.stages[0]),
			progressbar.OptionShowBytes(true),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionThrottle(redrawn),
			progressbar.OptionClearOnFinish(),
		)
		p.stages = p.stages[1:]
	}
	if p.done = done; p.bar == nil {
		return
	}
	_ = p.bar.Set64(done) // the work goes on if the bar cannot be drawn
}

// clear removes the bar from the terminal.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Finish() // as above
		p.bar = nil
	}
}
