package apiserver

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/sluice-net/sluice/internal/api"
)

// Stream calls emit with one object after another until it ends or emit fails.
type Stream[T any] func(emit func(T) error) error

// serveLines answers with many objects as JSON, an object per line, as Docker
// streams its events. Followers get each line at once; others get pieces, which
// costs less. An error in the middle is told in a trailer.
func serveLines[T any](w http.ResponseWriter, follow bool, stream Stream[T]) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush := func() error {
		if !follow {
			return nil
		}
		return http.NewResponseController(w).Flush()
	}
	_ = flush() // the client knows that it has begun
	encoder := json.NewEncoder(w)
	err := stream(func(line T) error { return errors.Join(encoder.Encode(line), flush()) })
	if err != nil {
		w.Header().Set(http.TrailerPrefix+api.ErrorTrailer, err.Error())
	}
}

func (s *server) drops(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	stream, err := s.backend.WatchDrops(r.Context(), api.DropOptions{Reasons: query["reason"], Container: query.Get("container")})
	if err != nil {
		writeError(w, err)
		return
	}
	serveLines(w, true, stream)
}

func (s *server) flows(w http.ResponseWriter, r *http.Request) {
	stream, err := s.backend.ListFlows(r.Context(), api.FlowFilterOf(r.URL.Query()))
	if err != nil {
		writeError(w, err)
		return
	}
	serveLines(w, false, stream)
}
