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

// window is the times of which a table's state can be had.
type window struct{ earliest, latest kv.TS }

func (s *Service) recoveryWindow(ctx context.Context, t *catalog.Table) (window, error) {
	oldest := kv.AtMillis(s.Now().AddDate(0, 0, -t.Recovery.Days).UnixMilli())
	stable, err := s.Tables.KV.Stable(ctx)
	earliest := max(t.Recovery.Since, oldest)
	return window{earliest, max(stable, earliest)}, clientError(err)
}

// at returns the timestamp of a time in the window, in milliseconds since 1970. Clients see times as whole seconds, so the second
// in which the window begins belongs to it.
func (w window) at(ms int64) (at kv.TS, ok bool) {
	if ms < w.earliest.Millis()/1000*1000 || ms > w.latest.Millis() {
		return 0, false
	}
	return max(kv.AtMillis(ms), w.earliest), true
}

// pointInTime returns the timestamp of the time that a request wants of a table's history, in seconds since 1970; without one,
// the latest.
func (s *Service) pointInTime(ctx context.Context, t *catalog.Table, want smithy.Opt[float64], outside awserr.Code) (kv.TS, error) {
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
		return 0, awserr.New(outside, "The specified time is outside of the point in time recovery window of table '"+t.Name+"'")
	}
	return at, nil
}

// millis is a time as a request has it, in milliseconds since 1970.
func millis(seconds float64) int64 { return time.UnixMicro(int64(seconds * 1e6)).UnixMilli() }
