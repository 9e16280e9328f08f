package mutate

import (
	"fmt"
	"strings"
)

// statement returns a PartiQL statement and its parameters. Statements in transactions and batches name whole keys.
func (g *gen) statement(whole, write bool) (text string, parameters []any) {
	t := g.table()
	param := func(v obj) string {
		if g.one(3) {
			if s, ok := v["S"].(string); ok && !strings.ContainsRune(s, 0) {
				return "'" + strings.ReplaceAll(s, "'", "''") + "'"
			}
			if n, ok := v["N"].(string); ok {
				return n
			}
		}
		parameters = append(parameters, v)
		return "?"
	}
	name := func(a string) string { return `"` + a + `"` }
	where := func() string {
		out := " WHERE " + name(t.pk) + " = " + param(g.keyValue(t.pk))
		if t.sk != "" && (whole || !g.one(3)) {
			out += " AND " + name(t.sk) + " = " + param(g.keyValue(t.sk))
		}
		return out
	}
	kind := g.n(2)
	if write {
		kind = 2 + g.n(3)
	}
	switch kind {
	case 0, 1:
		text = "SELECT " + pick(g.Source, "*", `"pk", "n"`, `m.a, l[0]`, `"g"`) + ` FROM "` + t.name + `"`
		switch {
		case whole:
			return text + where(), parameters
		case len(t.indexes) > 0 && g.one(3):
			i := t.indexes[g.n(len(t.indexes))]
			text += `."` + i.name + `" WHERE ` + name(i.pk) + " = " + param(g.keyValue(i.pk))
			if i.sk != "" && g.one(2) {
				text += " ORDER BY " + name(i.sk) + pick(g.Source, "", " ASC", " DESC")
			}
			return text, parameters
		case g.one(3):
			return text + " WHERE " + g.predicate(param, 0), parameters
		case g.one(3):
			return text, parameters
		}
		text += where()
		if g.one(2) {
			text += " AND " + g.predicate(param, 0)
		}
	case 2:
		it := g.item(t)
		var fields []string
		for _, a := range sorted(it) {
			fields = append(fields, "'"+a+"': "+param(it[a].(obj)))
		}
		text = `INSERT INTO "` + t.name + `" VALUE {` + strings.Join(fields, ", ") + "}"
	case 3:
		a := pick(g.Source, "s", "x", "Year", "l", "m", "ns")
		text = `UPDATE "` + t.name + `" SET ` + name(a) + " = " + param(g.attribute(a))
		whole = true
		if g.one(3) {
			text += " REMOVE " + name("raw")
		}
		text += where()
	default:
		whole = true
		text = `DELETE FROM "` + t.name + `"` + where()
	}
	return text, parameters
}

// predicate returns a condition of PartiQL.
func (g *gen) predicate(param func(obj) string, depth int) string {
	a := g.attributeName()
	n := `"` + a + `"`
	switch g.n(8) {
	case 0:
		return n + " " + pick(g.Source, "=", "<>", "<", ">", "<=", ">=", "!=") + " " + param(g.attribute(a))
	case 1:
		return n + " IS " + pick(g.Source, "", "NOT ") + pick(g.Source, "MISSING", "NULL")
	case 2:
		return n + " BETWEEN " + fmt.Sprint(g.n(3)) + " AND " + fmt.Sprint(3+g.n(9))
	case 3:
		return n + " IN [" + param(g.attribute(a)) + ", " + param(g.attribute(a)) + "]"
	case 4:
		return "begins_with(" + n + ", 'a')"
	case 5:
		return "contains(" + n + ", 'a')"
	case 6:
		return "attribute_type(" + n + ", 'S')"
	}
	if depth > 2 {
		return "size(" + n + ") > 1"
	}
	return "(" + g.predicate(param, depth+1) + pick(g.Source, " AND ", " OR ") + pick(g.Source, "", "NOT ") + g.predicate(param, depth+1) + ")"
}
