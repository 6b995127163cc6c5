package apiserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
)

// recorder is a backend that notes what it was asked. Verbs that no test calls
// are nil and would panic.
type recorder struct {
	Backend
	asked []any
	fails error
}

func (r *recorder) note(what ...any) error {
	r.asked = what
	return r.fails
}

func (r *recorder) CreateContainer(_ context.Context, body api.CreateContainer) (api.CreateContainerResponse, error) {
	return api.CreateContainerResponse{ID: "1"}, r.note("create", body)
}

func (r *recorder) StopContainer(_ context.Context, ref string, timeout time.Duration) error {
	return r.note("stop", ref, timeout)
}

func (r *recorder) KillContainer(_ context.Context, ref, signal string) error {
	return r.note("kill", ref, signal)
}

func (r *recorder) RemoveContainer(_ context.Context, ref string, force bool) error {
	return r.note("rm", ref, force)
}

func (r *recorder) ListContainers(_ context.Context, all bool) ([]api.ContainerSummary, error) {
	return []api.ContainerSummary{{ID: "1"}}, r.note("ps", all)
}

func (r *recorder) Logs(_ context.Context, ref string, o api.LogOptions, stdout, stderr io.Writer) error {
	if err := r.note("logs", ref, o); err != nil {
		return err
	}
	_, _ = stdout.Write([]byte("out"))
	_, _ = stderr.Write([]byte("err"))
	_, _ = stdout.Write([]byte(" more"))
	return nil
}

// serve answers on a socket until the test ends.
func serve(t *testing.T, b Backend) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: NewServer(b)}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return socket
}

func TestRequestsReachTheBackend(t *testing.T) {
	t.Parallel()
	backend := &recorder{}
	client := api.NewClient(serve(t, backend))
	ctx := context.Background()
	body := api.CreateContainer{Name: "net00", Cmd: []string{"a", "b c"}, HostConfig: api.HostConfig{Publish: []string{"80:80"}}}
	for _, test := range []struct {
		call func() error
		want []any
	}{
		{func() error { _, err := client.CreateContainer(ctx, body); return err }, []any{"create", body}},
		{func() error { return client.StopContainer(ctx, "a/b c", 3*time.Second) }, []any{"stop", "a/b c", 3 * time.Second}},
		{func() error { return client.KillContainer(ctx, "x", "SIG&HUP") }, []any{"kill", "x", "SIG&HUP"}},
		{func() error { return client.RemoveContainer(ctx, "x", true) }, []any{"rm", "x", true}},
		{func() error { _, err := client.ListContainers(ctx, true); return err }, []any{"ps", true}},
		{func() error {
			return client.Logs(ctx, "x", api.LogOptions{Follow: true, Tail: 5, Since: time.Unix(9, 5).UTC()}, io.Discard, io.Discard)
		}, []any{"logs", "x", api.LogOptions{Follow: true, Tail: 5, Since: time.Unix(9, 5).UTC()}}},
	} {
		if err := test.call(); err != nil {
			t.Errorf("%v: %v", test.want, err)
		}
		if !reflect.DeepEqual(backend.asked, test.want) {
			t.Errorf("asked %+v, want %+v", backend.asked, test.want)
		}
	}
}

func TestErrorsComeBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fails, want error
	}{
		{apierr.NotFound("No such container: x"), &apierr.Error{Status: 404, ExitCode: 125, Message: "No such container: x"}},
		{&apierr.Error{Status: 400, ExitCode: 127, Message: "no command"}, &apierr.Error{Status: 400, ExitCode: 127, Message: "no command"}},
		{errors.New("disk full"), &apierr.Error{Status: 500, Message: "disk full"}},
	} {
		client := api.NewClient(serve(t, &recorder{fails: test.fails}))
		for _, err := range []error{
			client.RemoveContainer(context.Background(), "x", false),
			client.Logs(context.Background(), "x", api.LogOptions{Tail: -1}, io.Discard, io.Discard),
		} {
			if !reflect.DeepEqual(err, test.want) {
				t.Errorf("%v came back as %#v", test.fails, err)
			}
		}
	}
}

// TestTooLargeRequest is refused before it was read as a whole.
func TestTooLargeRequest(t *testing.T) {
	t.Parallel()
	client := api.NewClient(serve(t, &recorder{}))
	_, err := client.CreateContainer(context.Background(), api.CreateContainer{Name: strings.Repeat("x", maxBody+1<<20)})
	if apierr.StatusOf(err) != 400 || !strings.Contains(err.Error(), "40 MB") {
		t.Errorf("got %v", err)
	}
}

// TestLongestCommand passes as long a command as execve takes anywhere: 6 MB,
// each byte of which JSON may write in six.
func TestLongestCommand(t *testing.T) {
	t.Parallel()
	client := api.NewClient(serve(t, &recorder{}))
	args := slices.Repeat([]string{strings.Repeat("<", 128<<10)}, 48)
	if _, err := client.CreateContainer(context.Background(), api.CreateContainer{Cmd: args}); err != nil {
		t.Error(err)
	}
}

func TestLogStreamsStayApart(t *testing.T) {
	t.Parallel()
	client := api.NewClient(serve(t, &recorder{}))
	var stdout, stderr bytes.Buffer
	if err := client.Logs(context.Background(), "x", api.LogOptions{Tail: -1}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "out more" || stderr.String() != "err" {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

// TestBadRequests covers what only another client than ours would send.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	handler := NewServer(&recorder{})
	for request, want := range map[string]int{
		"POST /v1/containers/create {":                                        400,
		"POST /v1/containers/create {\"Nonsense\":1}":                         400,
		"POST /v1/containers/create \"" + strings.Repeat("x", maxBody) + "\"": 400,
		"POST /v1/containers/x/stop?t=nonsense":                               400,
		"POST /v1/containers/x/stop?t=-1":                                     400,
		"POST /v1/containers/x/stop?t=10000000000":                            400,
		"DELETE /v1/containers/x?force=nonsense":                              400,
		"GET /v1/containers/json?all=nonsense":                                400,
		"GET /v1/containers/x/logs?tail=nonsense":                             400,
		"GET /v1/nonsense":                                                    404,
		"GET /v2/containers/json":                                             404,
		"PUT /v1/containers/json":                                             404,
		"POST /v1/containers/create {}":                                       200,
	} {
		method, rest, _ := strings.Cut(request, " ")
		path, body, _ := strings.Cut(rest, " ")
		r, err := http.NewRequest(method, path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		w := &answer{header: http.Header{}}
		handler.ServeHTTP(w, r)
		if w.status != want {
			t.Errorf("%.60s: status %d, want %d", request, w.status, want)
		}
		if want >= 400 && !strings.Contains(w.body.String(), `"message":`) {
			t.Errorf("%.60s: %s", request, w.body.String())
		}
	}
}

type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
