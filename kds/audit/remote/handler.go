package remote

import (
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/coffer-fs/coffer/kds/audit"
)

// Handler is the host's side: it keeps what a node appends in a store. A token that
// is not empty must be shown. Requests take turns; more than MaxRequests at once are
// refused.
func Handler(s audit.Store, token string, l *slog.Logger) http.Handler {
	h := &handler{store: s, token: []byte("Bearer " + token), logger: l, slots: make(chan struct{}, MaxRequests)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /last", h.last)
	mux.HandleFunc("POST /append", h.append)
	return h.bounded(mux, token != "")
}

// MaxRequests is how many requests are read and answered at once: one node asks one
// thing at a time.
const MaxRequests = 4

type handler struct {
	store  audit.Store
	token  []byte
	logger *slog.Logger
	slots  chan struct{}
}

func (h *handler) bounded(to http.Handler, secret bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if secret && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), h.token) != 1 {
			http.Error(w, "the token is missing or another one", http.StatusUnauthorized)
			return
		}
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
			to.ServeHTTP(w, r)
		default:
			http.Error(w, "too many requests at once", http.StatusTooManyRequests)
		}
	})
}

func (h *handler) last(w http.ResponseWriter, r *http.Request) {
	text, err := h.store.Last(r.Context())
	if err != nil {
		h.fail(w, "read audit log", err)
		return
	}
	_, _ = w.Write(text) // who went away asks again
}

func (h *handler) append(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	first, err := strconv.ParseUint(q.Get("first"), 10, 64)
	lines, err2 := strconv.Atoi(q.Get("lines"))
	if err != nil || err2 != nil || lines < 1 || lines > audit.MaxWaiting {
		http.Error(w, "first and lines must be numbers of lines", http.StatusBadRequest)
		return
	}
	batch, err := io.ReadAll(http.MaxBytesReader(w, r.Body, audit.MaxBatchBytes))
	if err != nil {
		http.Error(w, "the batch is too large or ends early", http.StatusBadRequest)
		return
	}
	if err := h.store.Append(r.Context(), first, lines, batch); err != nil {
		h.fail(w, "append to audit log", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *handler) fail(w http.ResponseWriter, what string, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, audit.ErrConflict) {
		status = http.StatusConflict
	} else {
		h.logger.Error(what, "error", err)
	}
	http.Error(w, err.Error(), status)
}
