package compat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// readme is the front page, whose snippets are run as they are printed there.
type readme struct {
	t    *testing.T
	text string
	port string // of sessiond
	app  string // the port of the Express app
	dir  string // where everything runs
}

// openReadme puts the ports of this test and its folder in the place of those that README has.
// Nothing else of a snippet is changed.
func openReadme(t *testing.T) readme {
	t.Helper()
	proc.OnlySessiond(t)
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := readme{t: t, port: proc.FreePort(t), app: proc.FreePort(t), dir: t.TempDir()}
	r.text = strings.NewReplacer("6379", r.port, "3000", r.app, "/srv/sessiond/", r.dir+"/").Replace(string(text))
	return r
}

var (
	fenced   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	indented = regexp.MustCompile(`(?m)(?:^    .*\n)+`)
)

// snippet returns a code block by its language and its place among those of that language.
func (r readme) snippet(language string, i int) string {
	r.t.Helper()
	var found []string
	for _, block := range fenced.FindAllStringSubmatch(r.text, -1) {
		if block[1] == language {
			found = append(found, block[2])
		}
	}
	if i >= len(found) {
		r.t.Fatalf("README has %d snippets of %s, want number %d", len(found), language, i)
	}
	return found[i]
}

// write writes a file into the folder of the test.
func (r readme) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	must(r.t, os.WriteFile(path, []byte(text), 0o600))
}

// sessiond returns a server on the port of the test, not started yet.
func (r readme) sessiond(args ...string) *proc.Process {
	p := proc.Sessiond(r.t, append([]string{"--port", r.port}, args...)...)
	p.WorkDir = r.dir
	return p
}

// Ensure that every snippet of README is run by a test below.
func TestReadme_EverySnippetRuns(t *testing.T) {
	t.Parallel()
	languages := map[string]int{}
	for _, block := range fenced.FindAllStringSubmatch(openReadme(t).text, -1) {
		languages[block[1]]++
	}
	if want := map[string]int{"js": 1, "go": 2}; !maps.Equal(languages, want) {
		t.Errorf("README has snippets in %v, and those are run: %v", languages, want)
	}
}

// Ensure that the transcript at the top of README prints what it shows, kill -9 included.
func TestReadme_Transcript(t *testing.T) {
	t.Parallel()
	r := openReadme(t)
	proc.Require(t, "redis-cli")
	script, want := r.transcript()
	ctx, cancel := context.WithTimeout(t.Context(), 2*proc.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh")
	cmd.Dir, cmd.Stdin = r.dir, strings.NewReader(script+"kill -9 $pid\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // the server, too
	var stderr strings.Builder
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s\n%s", err, got, &stderr, script)
	}
	if same(r, string(got)) != same(r, want) {
		t.Errorf("the transcript prints\n%s\nand README has\n%s\n%s", got, want, &stderr)
	}
}

// transcript returns the commands of the first block that starts sessiond, and what they print.
func (r readme) transcript() (script, output string) {
	r.t.Helper()
	for _, block := range indented.FindAllString(r.text, -1) {
		if !strings.Contains(block, "kill -9") {
			continue
		}
		for line := range strings.Lines(block) {
			line = strings.TrimPrefix(line, "    ")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				script += command
			} else {
				output += line
			}
		}
		// A reader has built sessiond, waits for its line, and types slower than a process ends.
		return strings.NewReplacer(
			"go build ./cmd/sessiond", "cp '"+proc.Binary(r.t)+"' sessiond",
			"./sessiond & pid=$!", "rm -f line; ./sessiond --port "+r.port+" > line & pid=$!\n"+
				"until [ -s line ] || ! kill -0 $pid; do sleep 0.01; done; cat line",
			"kill -9 $pid", "kill -9 $pid; wait $pid",
			"redis-cli", "redis-cli --no-raw -p "+r.port, // as on a terminal
		).Replace(script), output
	}
	r.t.Fatal("README has no transcript with kill -9")
	return "", ""
}

var secondsLeft = regexp.MustCompile(`(?m)^\(integer\) 3[56]\d\d$`)

// same takes out what differs between two runs: seconds, and IPv6, which a machine may lack.
func same(r readme, output string) string {
	return secondsLeft.ReplaceAllString(strings.ReplaceAll(output, ", [::1]:"+r.port, ""), "(integer) SECONDS")
}

// Ensure that README's Express app, installed as it says, keeps who is logged in over a kill -9
// of the server, and serves who is not while the server is away; and that with
// disableOfflineQueue, as it says, who is logged in gets an error meanwhile.
func TestReadme_Express(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, queue string }{{"default", ""}, {"disableOfflineQueue", "disableOfflineQueue: true, "}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := openReadme(t)
			node := requireNode(t)
			installed := r.npmInstall()
			must(t, os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(r.dir, "node_modules")))
			r.write("app.mjs", strings.Replace(r.snippet("js", 0), "createClient({ ", "createClient({ "+test.queue, 1))
			server := r.sessiond()
			server.Start()
			site := proc.Program(t, node, "app.mjs")
			site.WorkDir = r.dir
			site.Start()
			ada, bob := newVisitor(t), newVisitor(t)

			r.eventually(ada, site, "/login", "hello ada")
			r.eventually(ada, site, "/", "you are ada")
			server.Kill()
			r.eventually(bob, site, "/", "you are nobody")
			if test.queue != "" {
				r.fails(ada, site)
			}
			server.Start()
			r.eventually(ada, site, "/", "you are ada")
		})
	}
}

// npmInstall returns a folder with the packages that README says to install, and no others.
func (r readme) npmInstall() (dir string) {
	r.t.Helper()
	line := regexp.MustCompile("npm install ([^`\n]+)").FindStringSubmatch(r.text)
	if line == nil {
		r.t.Fatal("README does not say what to install")
	}
	dir, err := filepath.Abs(filepath.Join("..", "examples", "express", "today"))
	must(r.t, err)
	b, err := os.ReadFile(filepath.Join(dir, "package.json"))
	must(r.t, err)
	var manifest struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	must(r.t, json.Unmarshal(b, &manifest))
	want := slices.Sorted(maps.Keys(manifest.Dependencies))
	if got := slices.Sorted(slices.Values(strings.Fields(line[1]))); !slices.Equal(got, want) {
		r.t.Fatalf("README installs %v, and %s has %v", got, dir, want)
	}
	installNode(r.t, filepath.Join("..", "examples", "express", "today"))
	return dir
}

// eventually waits until the app shows this text: it may just have started, or lost its server.
func (r readme) eventually(v *visitor, site *proc.Process, path, want string) {
	r.t.Helper()
	proc.Eventually(r.t, func() error {
		got, err := v.get(&app{url: r.site()}, path)
		switch {
		case site.Ended():
			r.t.Fatalf("the app has ended:\n%s", site.Log())
		case err == nil && got != want:
			r.t.Fatalf("GET %s = %q, want %q\n%s", path, got, want, site.Log())
		}
		return err
	})
}

// fails checks that the app answers with an error.
func (r readme) fails(v *visitor, site *proc.Process) {
	r.t.Helper()
	response, err := v.client.Get(r.site().String())
	if err != nil {
		r.t.Fatalf("%v\n%s", err, site.Log())
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusInternalServerError {
		r.t.Errorf("without its server the app answers %s, want 500\n%s", response.Status, site.Log())
	}
}

// site returns the address of the app.
func (r readme) site() *url.URL { return &url.URL{Scheme: "http", Host: "127.0.0.1:" + r.app} }

// Ensure that the snippet for a Go client runs, and that what it stored is there after kill -9.
func TestReadme_GoClient(t *testing.T) {
	t.Parallel()
	r := openReadme(t)
	server := r.sessiond()
	launchOn(t, server, r.port)
	program := r.goProgram(".", `"context"; "log"; "time"; "github.com/redis/go-redis/v9"`,
		`ctx, session := context.Background(), "ada"`, r.snippet("go", 0), ``)
	if code := program.Run(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, program.Log())
	}
	server.Kill()
	launchOn(t, server, r.port)
	if got := once(t, "127.0.0.1:"+r.port, "GET", "sess:4711"); got != "$3\r\nada\r\n" {
		t.Errorf("GET = %q, want ada", got)
	}
}

// Ensure that the snippet for an embedded server runs, serves other programs, and that what it
// stored is there after kill -9.
func TestReadme_Embedded(t *testing.T) {
	t.Parallel()
	r := openReadme(t)
	program := r.goProgram("..", `"context"; "fmt"; "log"; "net"; "time"; "github.com/sessiond/sessiond"`,
		`ctx, id := context.Background(), "4711"
		listener, listenErr := net.Listen("tcp", "127.0.0.1:`+r.port+`")
		if listenErr != nil { log.Fatal(listenErr) }`,
		r.snippet("go", 1),
		`fmt.Printf("%s %v\n", user, found)
		select {}`)
	launchOn(t, program, r.port)
	proc.Eventually(t, func() error {
		if got := program.Stdout.String(); got != "ada true\n" {
			return fmt.Errorf("the program prints %q\n%s", got, program.Log())
		}
		return nil
	})
	if got := once(t, "127.0.0.1:"+r.port, "GET", "4711"); got != "$3\r\nada\r\n" {
		t.Errorf("GET = %q, want ada", got)
	}
	program.Kill()
	server := r.sessiond("--dir", "sessions")
	launchOn(t, server, r.port)
	if got := once(t, "127.0.0.1:"+r.port, "GET", "4711"); got != "$3\r\nada\r\n" {
		t.Errorf("GET after kill -9 = %q, want ada", got)
	}
}

// launchOn starts a process and waits until the port is open.
func launchOn(t *testing.T, p *proc.Process, port string) {
	t.Helper()
	p.Start()
	proc.Eventually(t, func() error {
		if p.Ended() {
			t.Fatalf("exit code %d\n%s", p.ExitCode(), p.Log())
		}
		return dialable(port)
	})
}

func dialable(port string) error {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err == nil {
		err = conn.Close()
	}
	return err
}

// goProgram builds a snippet, between what declares its variables and what uses them, in a module
// of its own that has this checkout in the place of sessiond and the versions of the module in
// the folder versions, so that nothing is fetched.
func (r readme) goProgram(versions, imports, before, snippet, after string) *proc.Process {
	r.t.Helper()
	root, err := filepath.Abs("..")
	must(r.t, err)
	module, err := os.ReadFile(filepath.Join(versions, "go.mod"))
	must(r.t, err)
	sums, err := os.ReadFile(filepath.Join(versions, "go.sum"))
	must(r.t, err)
	r.write("go.sum", string(sums))
	r.write("go.mod", regexp.MustCompile(`(?m)^(module|replace) .*$`).ReplaceAllString(string(module), "")+fmt.Sprintf(`
		module readme
		require github.com/sessiond/sessiond v0.0.0
		replace github.com/sessiond/sessiond => %q`, root))
	r.write("main.go", fmt.Sprintf("package main\n\nimport (%s)\n\nfunc main() {\n%s\n%s\nif err != nil { log.Fatal(err) }\n%s\n}\n",
		imports, before, snippet, after))
	ctx, cancel := context.WithTimeout(r.t.Context(), installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", "program", ".")
	cmd.Dir = r.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("go build: %v\n%s\n%s", err, out, snippet)
	}
	program := proc.Program(r.t, filepath.Join(r.dir, "program"))
	program.WorkDir = r.dir
	return program
}
