package mutate

import "fmt"

// distinct returns distinct keys of a table.
func (g *gen) distinct(n int) (list []table, keys []obj) {
	seen := map[string]bool{}
	for range n {
		t := g.table()
		k := g.key(t)
		if id := t.name + render(k); !seen[id] {
			seen[id] = true
			list, keys = append(list, t), append(keys, k)
		}
	}
	return list, keys
}

func (g *gen) batchGetItem() obj {
	requests := obj{}
	list, keys := g.distinct(1 + g.n(8))
	for i, t := range list {
		r, ok := requests[t.name].(obj)
		if !ok {
			r = obj{"Keys": []any{}}
			g.maybe(r, 3, "ConsistentRead", func() any { return true })
			g.maybe(r, 4, "AttributesToGet", func() any { return []any{"pk", "s"} })
			requests[t.name] = r
		}
		r["Keys"] = append(r["Keys"].([]any), keys[i])
	}
	return g.consumed(obj{"RequestItems": requests})
}

func (g *gen) batchWriteItem() obj {
	requests := obj{}
	list, keys := g.distinct(1 + g.n(8))
	for i, t := range list {
		r := obj{"DeleteRequest": obj{"Key": keys[i]}}
		if !g.one(3) {
			it := g.item(t)
			for name, v := range keys[i] {
				it[name] = v
			}
			r = obj{"PutRequest": obj{"Item": it}}
		}
		before, _ := requests[t.name].([]any)
		requests[t.name] = append(before, r)
	}
	return g.consumed(obj{"RequestItems": requests})
}

func (g *gen) transactGetItems() obj {
	items := []any{}
	list, keys := g.distinct(1 + g.n(6))
	for i, t := range list {
		g.begin()
		get := obj{"TableName": g.tableRef(t), "Key": keys[i]}
		g.maybe(get, 3, "ProjectionExpression", func() any { return g.projection() })
		items = append(items, obj{"Get": g.finish(get)})
	}
	g.begin()
	return g.consumed(obj{"TransactItems": items})
}

func (g *gen) transactWriteItems() obj {
	items := []any{}
	list, keys := g.distinct(1 + g.n(6))
	for i, t := range list {
		g.begin()
		in := obj{"TableName": g.tableRef(t)}
		kind := pick(g.Source, "Put", "Update", "Delete", "ConditionCheck")
		switch kind {
		case "Put":
			it := g.item(t)
			for name, v := range keys[i] {
				it[name] = v
			}
			in["Item"] = it
		case "Update":
			in["Key"], in["UpdateExpression"] = keys[i], g.update(t)
		default:
			in["Key"] = keys[i]
		}
		if kind == "ConditionCheck" || g.one(3) {
			in["ConditionExpression"] = "attribute_not_exists(nothing) OR (" + g.condition(1) + ")"
		}
		g.maybe(in, 4, "ReturnValuesOnConditionCheckFailure", func() any { return "ALL_OLD" })
		items = append(items, obj{kind: g.finish(in)})
	}
	g.begin()
	out := obj{"TransactItems": items}
	g.maybe(out, 4, "ClientRequestToken", func() any { return fmt.Sprint("token-", g.n(5), "-", len(items)) })
	return g.consumed(out)
}

func (g *gen) executeStatement() obj {
	text, parameters := g.statement(false, g.one(2))
	in := obj{"Statement": text}
	if len(parameters) > 0 {
		in["Parameters"] = parameters
	}
	g.maybe(in, 4, "Limit", func() any { return 1 + g.n(10) })
	g.maybe(in, 4, "ConsistentRead", func() any { return false })
	return g.consumed(in)
}

// statements returns statements that all read or all write, each on a different item as far as that can be told.
func (g *gen) statements() []any {
	write := g.one(2)
	list := []any{}
	for range 1 + g.n(4) {
		text, parameters := g.statement(true, write)
		s := obj{"Statement": text}
		if len(parameters) > 0 {
			s["Parameters"] = parameters
		}
		list = append(list, s)
	}
	return list
}

func (g *gen) batchExecuteStatement() obj { return g.consumed(obj{"Statements": g.statements()}) }

func (g *gen) executeTransaction() obj { return g.consumed(obj{"TransactStatements": g.statements()}) }
