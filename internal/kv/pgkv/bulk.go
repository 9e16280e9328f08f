package pgkv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/kv"
)

const (
	// loadBytes and loadRows bound what one transaction of Load copies.
	loadBytes = 4 << 20
	loadRows  = 10000
	// deleteRows is how many rows one statement of DeleteRange deletes.
	deleteRows = 10000
	// sumInterval is how often changes of counters are summed.
	sumInterval = 5 * time.Second
	// sumRows is how many changes one transaction sums.
	sumRows = 10000
)

// Load implements kv.Store, by COPY in several transactions.
func (s *Store) Load(ctx context.Context, source func(put func(key, val []byte) error) error) error {
	var rows [][]any
	size := 0
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		err := s.copy(ctx, rows)
		rows, size = nil, 0
		return err
	}
	err := source(func(key, val []byte) error {
		if len(key) > s.Limits().Key {
			return kv.ErrTooLarge
		}
		rows = append(rows, []any{bytes.Clone(key), append([]byte{}, val...)})
		if size += len(key) + len(val); size < loadBytes && len(rows) < loadRows {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// copy copies rows. Rows that exist already are left over from a Load that did not finish, and are replaced.
func (s *Store) copy(ctx context.Context, rows [][]any) error {
	tripTaken(ctx)
	_, err := s.pool.CopyFrom(ctx, pgx.Identifier{"stator_kv"}, []string{"k", "v"}, pgx.CopyFromRows(rows))
	// COPY is fastest, but fails on duplicates.
	if err = failure(err); !errors.Is(err, kv.ErrConflict) {
		return err
	}
	var p pairs
	for _, r := range rows {
		p.add(r[0].([]byte), r[1].([]byte))
	}
	tripTaken(ctx)
	_, err = s.pool.Exec(ctx, insertMany+replace, p.keys, p.vals)
	return failure(err)
}

// DeleteRange implements kv.Store. Small statements keep locks short and let other servers proceed.
func (s *Store) DeleteRange(ctx context.Context, r kv.Range) error {
	for _, table := range []string{"stator_kv", "stator_counters"} {
		bound, args := "", []any{orEmpty(r.Start), deleteRows}
		if r.End != nil {
			bound, args = " AND k < $3", append(args, r.End)
		}
		statement := "DELETE FROM " + table + " WHERE k IN (SELECT k FROM " + table + " WHERE k >= $1" + bound + " ORDER BY k LIMIT $2)"
		for {
			var deleted int64
			err := s.retryRead(ctx, func() error {
				tripTaken(ctx)
				tag, err := s.pool.Exec(ctx, statement, args...)
				deleted = tag.RowsAffected()
				return err
			})
			if errors.Is(err, kv.ErrConflict) && ctx.Err() == nil {
				continue // deadlock with another server that deletes the same range
			}
			if err != nil {
				return err
			}
			if deleted < deleteRows {
				break
			}
		}
	}
	return nil
}

// Size implements kv.Store with the estimate of the database's planner, which costs no scan.
func (s *Store) Size(ctx context.Context, r kv.Range) (int64, error) {
	bound, args := "", []any{pgx.QueryExecModeExec, orEmpty(r.Start)}
	if r.End != nil {
		bound, args = " AND k < $2", append(args, r.End)
	}
	var raw []byte
	err := s.retryRead(ctx, func() error {
		tripTaken(ctx)
		return s.pool.QueryRow(ctx, "EXPLAIN (FORMAT JSON) SELECT k, v FROM stator_kv WHERE k >= $1"+bound, args...).Scan(&raw)
	})
	if err != nil {
		return 0, err
	}
	var plans []struct {
		Plan struct {
			Rows  float64 `json:"Plan Rows"`
			Width float64 `json:"Plan Width"`
		}
	}
	if err := json.Unmarshal(raw, &plans); err != nil || len(plans) == 0 {
		return 0, errors.Join(errors.New("pgkv: the database's EXPLAIN is empty"), err)
	}
	return int64(plans[0].Plan.Rows * plans[0].Plan.Width), nil
}

// sumLoop keeps summing changes of counters, so that readers find few rows for each.
func (s *Store) sumLoop(ctx context.Context) {
	jobs.Every(ctx, s.opt.Logger, "summing counters", sumInterval, func() {
		for {
			n, err := s.sumSome(ctx)
			if err != nil && ctx.Err() == nil && !errors.Is(err, kv.ErrConflict) {
				s.opt.Logger.Warn("cannot sum counters", "error", err.Error())
			}
			if err != nil || n < sumRows {
				return
			}
		}
	})
}

// sumSome replaces up to sumRows changes of counters by their sums. Several servers may do so concurrently: SKIP LOCKED gives
// each its own rows.
func (s *Store) sumSome(ctx context.Context) (rows int, err error) {
	tripTaken(ctx)
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		rows = 0
		found, err := tx.Query(ctx, `SELECT k, id, v FROM stator_counters WHERE k IN (SELECT k FROM stator_counters GROUP BY k HAVING count(*) > 1)
			ORDER BY k, id LIMIT $1 FOR UPDATE SKIP LOCKED`, sumRows)
		if err != nil {
			return err
		}
		sums := map[string][]int64{}
		var keys [][]byte
		var ids []int64
		for found.Next() {
			var key, val []byte
			var id int64
			if err := found.Scan(&key, &id, &val); err != nil {
				return err
			}
			keys, ids = append(keys, key), append(ids, id)
			sums[string(key)] = kv.SumCounters(sums[string(key)], kv.DecodeCounters(val))
		}
		if err := found.Err(); err != nil {
			return err
		}
		if rows = len(ids); rows == 0 {
			return nil
		}
		b := new(pgx.Batch)
		b.Queue("DELETE FROM stator_counters c USING unnest($1::bytea[], $2::bigint[]) AS d (k, id) WHERE c.k = d.k AND c.id = d.id", keys, ids)
		for key, sum := range sums {
			b.Queue(addCounters, []byte(key), kv.AppendCounters(nil, sum))
		}
		return tx.SendBatch(ctx, b).Close()
	})
	return rows, failure(err)
}
