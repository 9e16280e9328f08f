package pgkv

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// TestPlans checks that statements use the index even if the table's statistics say that it is small.
func TestPlans(t *testing.T) {
	ctx := context.Background()
	s := opener(t)()
	c, err := s.connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.release()
	for name, p := range map[string]struct{ sql, types, args string }{
		"selectOne":  {selectOne, "bytea", "'a'"},
		"selectMany": {selectMany, "bytea[]", "'{a,b}'"},
		"lockMany":   {lockMany, "bytea[]", "'{a,b}'"},
		"updateMany": {updateMany, "bytea[], bytea[]", "'{a,b}', '{a,b}'"},
		"deleteMany": {deleteMany, "bytea[]", "'{a,b}'"},
		"verifyMany": {verifyMany, "bytea[], bytea[], bigint", "'{a,b}', '{a,b}', 2"},
		"verifyNow":  {verifyNow, "bytea[], bytea[], bigint", "'{a,b}', '{a,b}', 2"},
		"scanUp":     {scanUp, "bytea[], bytea[], bigint[]", "'{a,b}', '{a,b}', '{1,2}'"},
		"scanDown":   {scanDown, "bytea[], bytea[], bigint[]", "'{a,b}', '{a,b}', '{1,2}'"},
	} {
		if _, err := c.Exec(ctx, fmt.Sprintf("PREPARE %s (%s) AS %s", name, p.types, p.sql)); err != nil {
			t.Fatal(name, err)
		}
		rows, err := c.Query(ctx, fmt.Sprintf("EXPLAIN VERBOSE EXECUTE %s (%s)", name, p.args))
		if err != nil {
			t.Fatal(name, err)
		}
		var plan strings.Builder
		for rows.Next() {
			plan.Write(rows.RawValues()[0])
			plan.WriteByte('\n')
		}
		if err := rows.Err(); err != nil {
			t.Fatal(name, err)
		}
		if got := plan.String(); strings.Contains(got, "Seq Scan") || !strings.Contains(got, "using stator_kv_pkey") || !strings.Contains(got, "$1") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}
