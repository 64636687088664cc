package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress tells whoever waits what is done at the moment.
type progress struct {
	out      io.Writer
	terminal bool // bars, too
}

func newProgress(out io.Writer) progress {
	p := progress{out: out}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// step says what comes next.
func (p progress) step(format string, args ...any) {
	_, _ = fmt.Fprintf(p.out, format+"\n", args...) // who closed it does not want to know
}

// bar returns a bar of a length, which shows only on a terminal.
func (p progress) bar(length int64, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(length,
		progressbar.OptionSetWriter(p.out),
		progressbar.OptionSetVisibility(p.terminal),
		progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionClearOnFinish(),
	)
}
