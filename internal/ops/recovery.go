package ops

import (
	"context"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) describeRecovery(ctx context.Context, t *catalog.Table) (*api.ContinuousBackupsDescription, error) {
	d := &api.PointInTimeRecoveryDescription{PointInTimeRecoveryStatus: smithy.Some(api.PointInTimeRecoveryStatusDisabled)}
	if t.Recovery != nil {
		w, err := s.recoveryWindow(ctx, t)
		if err != nil {
			return nil, err
		}
		d = &api.PointInTimeRecoveryDescription{
			PointInTimeRecoveryStatus:  smithy.Some(api.PointInTimeRecoveryStatusEnabled),
			RecoveryPeriodInDays:       smithy.Some(int64(t.Recovery.Days)),
			EarliestRestorableDateTime: smithy.Some(float64(w.earliest.Millis() / 1000)),
			LatestRestorableDateTime:   smithy.Some(float64(w.latest.Millis() / 1000)),
		}
	}
	return &api.ContinuousBackupsDescription{
		ContinuousBackupsStatus: smithy.Some(api.ContinuousBackupsStatusEnabled), PointInTimeRecoveryDescription: d,
	}, nil
}

// window is the period to which a table can be restored.
type window struct{ earliest, latest kv.TS }

// recoveryWindow returns the table's window. It begins when recovery was enabled, or when the oldest history expires, and ends
// at the latest time at which no more changes can appear.
func (s *Service) recoveryWindow(ctx context.Context, t *catalog.Table) (window, error) {
	oldest := kv.AtMillis(s.Now().AddDate(0, 0, -t.Recovery.Days).UnixMilli())
	stable, err := s.Tables.KV.Stable(ctx)
	earliest := max(t.Recovery.Since, oldest)
	return window{earliest, max(stable, earliest)}, clientError(err)
}

// at converts milliseconds since 1970 to a timestamp in the window; ok is false outside of it. Clients see whole seconds, so
// the whole second in which the window begins counts as inside.
func (w window) at(ms int64) (at kv.TS, ok bool) {
	if ms < w.earliest.Millis()/1000*1000 || ms > w.latest.Millis() {
		return 0, false
	}
	return max(kv.AtMillis(ms), w.earliest), true
}

// pointInTime returns the timestamp for the time that a request asks for, in seconds since 1970, or the latest restorable one
// if it asks for none. A time outside the window fails with the error that outside returns for it.
func (s *Service) pointInTime(ctx context.Context, t *catalog.Table, want smithy.Opt[float64], outside func(asked float64, w window) error) (kv.TS, error) {
	if t.Recovery == nil {
		return 0, awserr.New(awserr.PointInTimeUnavailable, "Point in time recovery is not enabled for table '"+t.Name+"'")
	}
	w, err := s.recoveryWindow(ctx, t)
	if err != nil {
		return 0, err
	}
	if !want.Set {
		return w.latest, nil
	}
	at, ok := w.at(millis(want.Value))
	if !ok {
		return 0, outside(want.Value, w)
	}
	return at, nil
}

// millis converts a request's time in seconds since 1970 to milliseconds.
func millis(seconds float64) int64 { return time.UnixMicro(int64(seconds * 1e6)).UnixMilli() }
