package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Ensure that a fault is found in the systems that have it: in the program, in its tests and
// in sizes, and that what is right on a system passes there.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":          "module example.com/m\n\ngo 1.26\n",
		"all.go":          "package m\n\nimport \"strconv\"\n\nvar _ = strconv.Itoa\n",
		"all_windows.go":  "package m\n\nvar _ = missing\n",
		"all_arm64.go":    "package m\n\nfunc f() { unused := 1 }\n",
		"all_test.go":     "package m\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) { _ = onLinux }\n",
		"x_test.go":       "package m_test\n\nimport (\n\t\"example.com/m\"\n\t\"testing\"\n)\n\nfunc TestY(t *testing.T) { m.OfTest() }\n",
		"linux_test.go":   "//go:build linux\n\npackage m\n\nvar onLinux = 1\n",
		"offered_test.go": "package m\n\nfunc OfTest() {}\n",
		"all_386.go":      "package m\n\nvar big int = 1 << 40\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	tests := []struct {
		system string
		want   []string // nil means no fault
	}{
		{"linux/amd64", nil},
		{"windows/amd64", []string{"undefined: missing", "undefined: onLinux"}},
		{"darwin/amd64", []string{"undefined: onLinux"}},
		{"linux/arm64", []string{"declared and not used: unused"}},
		{"linux/386", []string{"overflows"}},
		{"linux/none", []string{"no such processor"}},
	}
	for _, tt := range tests {
		err := check(tt.system, "./...")
		if (err != nil) != (tt.want != nil) {
			t.Errorf("%s: %v, want %q", tt.system, err, tt.want)
		}
		for _, want := range tt.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", tt.system, err, want)
			}
		}
	}
}
