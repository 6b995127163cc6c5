// Package apiserver is the daemon's side of the API: it maps the routes to a
// Backend. It is apart from package api so that clients do without net/http.
package apiserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
)

// maxBody bounds a request's body: what execve takes at most, 6 MB of arguments
// and variables, fits even where JSON writes each byte in six.
const maxBody = 40 << 20

// NewServer returns the handler of every route.
func NewServer(b Backend) http.Handler {
	s := &server{backend: b}
	mux := http.NewServeMux()
	for pattern, handler := range s.routes() {
		mux.HandleFunc(pattern, handler)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, apierr.NotFound("no such route: %s %s", r.Method, r.URL.Path))
	})
	return mux
}

type server struct{ backend Backend }

func (s *server) routes() map[string]http.HandlerFunc {
	b := s.backend
	return map[string]http.HandlerFunc{
		"POST /v1/containers/create": withBody(func(r *http.Request, body api.CreateContainer) (any, error) {
			return b.CreateContainer(r.Context(), body)
		}),
		"GET /v1/containers/json": get(func(r *http.Request) (any, error) {
			all, err := flag(r, "all")
			if err != nil {
				return nil, err
			}
			return b.ListContainers(r.Context(), all)
		}),
		"GET /v1/containers/{ref}/json": get(func(r *http.Request) (any, error) {
			return b.InspectContainer(r.Context(), r.PathValue("ref"))
		}),
		"POST /v1/containers/{ref}/start": withBody(func(r *http.Request, body api.StartContainer) (any, error) {
			return b.StartContainer(r.Context(), r.PathValue("ref"), body)
		}),
		"POST /v1/containers/{ref}/stop": do(s.stop),
		"POST /v1/containers/{ref}/kill": do(func(r *http.Request) error {
			return b.KillContainer(r.Context(), r.PathValue("ref"), r.URL.Query().Get("signal"))
		}),
		"DELETE /v1/containers/{ref}": do(func(r *http.Request) error {
			force, err := flag(r, "force")
			if err != nil {
				return err
			}
			return b.RemoveContainer(r.Context(), r.PathValue("ref"), force)
		}),
		"POST /v1/containers/{ref}/wait": get(func(r *http.Request) (any, error) {
			return b.WaitContainer(r.Context(), r.PathValue("ref"))
		}),
		"POST /v1/containers/{ref}/exec": withBody(func(r *http.Request, body api.Exec) (any, error) {
			return b.Exec(r.Context(), r.PathValue("ref"), body)
		}),
		"GET /v1/containers/{ref}/logs": s.logs,
		"POST /v1/containers/{ref}/publish": withBody(func(r *http.Request, body api.PublishPorts) (any, error) {
			return b.Publish(r.Context(), r.PathValue("ref"), body)
		}),
		"POST /v1/containers/{ref}/unpublish": withBody(func(r *http.Request, body api.PublishPorts) (any, error) {
			return b.Unpublish(r.Context(), r.PathValue("ref"), body)
		}),
		"POST /v1/networks/create": withBody(func(r *http.Request, body api.CreateNetwork) (any, error) {
			return b.CreateNetwork(r.Context(), body)
		}),
		"GET /v1/networks": get(func(r *http.Request) (any, error) { return b.ListNetworks(r.Context()) }),
		"GET /v1/networks/{ref}": get(func(r *http.Request) (any, error) {
			return b.InspectNetwork(r.Context(), r.PathValue("ref"))
		}),
		"DELETE /v1/networks/{ref}": do(func(r *http.Request) error {
			return b.RemoveNetwork(r.Context(), r.PathValue("ref"))
		}),
		"GET /v1/drops":     s.drops,
		"GET /v1/conntrack": s.flows,
		"GET /v1/conntrack/count": get(func(r *http.Request) (any, error) {
			return b.CountFlows(r.Context(), api.FlowFilterOf(r.URL.Query()))
		}),
		"POST /v1/conntrack/flush": withBody(func(r *http.Request, body api.FlushFlows) (any, error) {
			return b.FlushFlows(r.Context(), body)
		}),
		"GET /v1/nat":           get(func(r *http.Request) (any, error) { return b.NAT(r.Context()) }),
		"GET /v1/doctor":        get(func(r *http.Request) (any, error) { return b.Doctor(r.Context()) }),
		"GET /v1/info":          get(func(r *http.Request) (any, error) { return b.Info(r.Context()) }),
		"GET /v1/version":       get(func(r *http.Request) (any, error) { return b.Version(r.Context()) }),
		"POST /v1/system/reset": do(func(r *http.Request) error { return b.Reset(r.Context()) }),
	}
}

func (s *server) stop(r *http.Request) error {
	timeout := 10 * time.Second
	if t := r.URL.Query().Get("t"); t != "" {
		seconds, err := strconv.Atoi(t)
		if err != nil || seconds < 0 || seconds > api.MaxStopSeconds {
			return apierr.BadParameter("t=%q is not a number of seconds from 0 to %d", t, api.MaxStopSeconds)
		}
		timeout = time.Duration(seconds) * time.Second
	}
	return s.backend.StopContainer(r.Context(), r.PathValue("ref"), timeout)
}

// get answers with what fn returns.
func get(fn func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := fn(r)
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

// do answers without a body.
func do(fn func(*http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := fn(r); err != nil {
			writeError(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// withBody reads a body of JSON first. Fields that are not known are refused:
// they would be wishes that nobody fulfils.
func withBody[T any](fn func(*http.Request, T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&body)
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			writeError(w, apierr.BadParameter("the request's body is larger than %d MB", large.Limit>>20))
			return
		case err != nil:
			writeError(w, apierr.BadParameter("the request's body: %v", err))
			return
		}
		get(func(r *http.Request) (any, error) { return fn(r, body) })(w, r)
	}
}

func flag(r *http.Request, name string) (bool, error) {
	value := r.URL.Query().Get(name)
	if value == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(value)
	if err != nil {
		return false, apierr.BadParameter("%s=%q is neither true nor false", name, value)
	}
	return on, nil
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone: nobody to tell
}

func writeError(w http.ResponseWriter, err error) {
	response := api.ErrorResponse{Message: err.Error()}
	var known *apierr.Error
	if errors.As(err, &known) {
		response.Message, response.ExitCode = known.Message, known.ExitCode
	}
	writeJSON(w, apierr.StatusOf(err), response)
}
