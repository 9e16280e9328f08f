package mutate

import "fmt"

// maybe sets a member once in times calls, on average.
func (g *gen) maybe(in obj, times int, name string, value func() any) {
	if g.one(times) {
		in[name] = value()
	}
}

// with returns a request with an additional member.
func with(in obj, name string, value any) obj {
	in[name] = value
	return in
}

// consumed adds the members that ask many operations for more output.
func (g *gen) consumed(in obj) obj {
	g.maybe(in, 3, "ReturnConsumedCapacity", func() any { return pick(g.Source, "TOTAL", "INDEXES", "NONE") })
	return in
}

// tableRef returns a table's name or ARN.
func (g *gen) tableRef(t table) string {
	if g.one(8) {
		return "arn:aws:dynamodb:us-east-1:000000000000:table/" + t.name
	}
	return t.name
}

// expected returns legacy conditions that usually hold.
func (g *gen) expected() obj {
	a := g.attributeName()
	switch g.n(4) {
	case 0:
		return obj{"nothing": obj{"Exists": false}}
	case 1:
		return obj{"nothing": obj{"ComparisonOperator": "NULL"}}
	case 2:
		return obj{a: g.legacy(a), "nothing": obj{"Exists": false}}
	}
	return obj{"pk": obj{"ComparisonOperator": "NOT_NULL"}}
}

// legacy returns a legacy condition on an attribute.
func (g *gen) legacy(a string) obj {
	op := pick(g.Source, "EQ", "NE", "LE", "LT", "GE", "GT", "NOT_NULL", "NULL", "CONTAINS", "NOT_CONTAINS", "BEGINS_WITH", "IN", "BETWEEN")
	list := []any{}
	switch op {
	case "NOT_NULL", "NULL":
	case "BETWEEN":
		list = []any{obj{"N": "0"}, obj{"N": "5"}}
	case "IN":
		list = []any{obj{"S": "a"}, obj{"S": "b"}, obj{"N": "1"}}
	case "BEGINS_WITH", "CONTAINS", "NOT_CONTAINS":
		list = []any{obj{"S": "a"}}
	case "EQ", "NE":
		list = []any{g.attribute(a)}
	default:
		list = []any{g.keyValue(pick(g.Source, "pk", "sk", "b"))}
	}
	return obj{"ComparisonOperator": op, "AttributeValueList": list}
}

// writeConditions adds a condition of either kind to a write.
func (g *gen) writeConditions(in obj) obj {
	switch g.n(5) {
	case 0, 1:
		in["ConditionExpression"] = "attribute_not_exists(nothing) OR (" + g.condition(1) + ")"
		g.maybe(in, 2, "ReturnValuesOnConditionCheckFailure", func() any { return pick(g.Source, "ALL_OLD", "NONE") })
	case 2:
		if in["UpdateExpression"] == nil {
			in["Expected"] = g.expected()
			g.maybe(in, 3, "ConditionalOperator", func() any { return pick(g.Source, "OR", "AND") })
		}
	}
	g.maybe(in, 4, "ReturnItemCollectionMetrics", func() any { return pick(g.Source, "SIZE", "NONE") })
	return g.consumed(g.finish(in))
}

func (g *gen) putItem() obj {
	t := g.table()
	in := obj{"TableName": g.tableRef(t), "Item": g.item(t)}
	g.maybe(in, 3, "ReturnValues", func() any { return pick(g.Source, "ALL_OLD", "NONE") })
	return g.writeConditions(in)
}

func (g *gen) deleteItem() obj {
	t := g.table()
	in := obj{"TableName": g.tableRef(t), "Key": g.key(t)}
	g.maybe(in, 3, "ReturnValues", func() any { return pick(g.Source, "ALL_OLD", "NONE") })
	return g.writeConditions(in)
}

func (g *gen) updateItem() obj {
	t := g.table()
	in := obj{"TableName": g.tableRef(t), "Key": g.key(t)}
	switch g.n(6) {
	case 0:
	case 1:
		a := attributes[g.n(len(attributes))]
		in["AttributeUpdates"] = obj{a: obj{"Action": "PUT", "Value": g.attribute(a)}, "total": obj{"Action": "ADD", "Value": obj{"N": g.number()}}, "raw": obj{"Action": "DELETE"}}
	default:
		in["UpdateExpression"] = g.update(t)
	}
	g.maybe(in, 2, "ReturnValues", func() any {
		return pick(g.Source, "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW", "NONE")
	})
	if in["AttributeUpdates"] != nil {
		return g.consumed(in)
	}
	return g.writeConditions(in)
}

func (g *gen) getItem() obj {
	t := g.table()
	in := obj{"TableName": g.tableRef(t), "Key": g.key(t)}
	switch g.n(3) {
	case 0:
		in["ProjectionExpression"] = g.projection()
	case 1:
		in["AttributesToGet"] = []any{"pk", pick(g.Source, attributes...)}
	}
	g.maybe(in, 2, "ConsistentRead", func() any { return g.one(2) })
	return g.consumed(g.finish(in))
}

// reads adds the members that Query and Scan share.
func (g *gen) reads(in obj, t table, global bool, keys []string) obj {
	g.maybe(in, 3, "Limit", func() any { return 1 + g.n(20) })
	if !global {
		g.maybe(in, 3, "ConsistentRead", func() any { return true })
	}
	g.maybe(in, 4, "ExclusiveStartKey", func() any {
		if last := g.w.lastKey(t.name, fmt.Sprint(in["IndexName"])); last != nil && g.one(2) {
			return last
		}
		k := g.key(t)
		for _, name := range keys {
			if name != "" && k[name] == nil {
				k[name] = g.keyValue(name)
			}
		}
		return k
	})
	switch {
	case in["KeyConditions"] != nil:
		g.maybe(in, 3, "AttributesToGet", func() any { return []any{"pk"} })
		g.maybe(in, 3, "QueryFilter", func() any { return obj{"x": g.legacy("x"), "s": g.legacy("s")} })
	case in["ScanFilter"] != nil:
		g.maybe(in, 3, "ConditionalOperator", func() any { return pick(g.Source, "OR", "AND") })
	default:
		switch g.n(4) {
		case 0:
			in["ProjectionExpression"] = g.projection()
		case 1:
			in["Select"] = "COUNT"
		case 2:
			if in["IndexName"] == nil {
				in["Select"] = "ALL_ATTRIBUTES"
			}
		}
	}
	return g.consumed(g.finish(in))
}

func (g *gen) query() obj {
	t := g.table()
	in := obj{"TableName": g.tableRef(t)}
	pk, sk, global := t.pk, t.sk, false
	if len(t.indexes) > 0 && g.one(2) {
		i := t.indexes[g.n(len(t.indexes))]
		in["IndexName"], pk, sk, global = i.name, i.pk, i.sk, i.name != "local"
	}
	if g.one(6) {
		in["KeyConditions"] = obj{pk: obj{"ComparisonOperator": "EQ", "AttributeValueList": []any{g.keyValue(pk)}}}
	} else {
		in["KeyConditionExpression"] = g.keyCondition(pk, sk)
		if g.one(3) {
			in["FilterExpression"] = g.filter(pk, sk)
		}
	}
	g.maybe(in, 3, "ScanIndexForward", func() any { return g.one(2) })
	return g.reads(in, t, global, []string{pk, sk})
}

// filter returns a condition without key attributes, which Query forbids in filters.
func (g *gen) filter(pk, sk string) string {
	for range 5 {
		names, vals := copied(g.names), copied(g.vals)
		f := g.condition(1)
		if !mentions(f, g.names, pk) && (sk == "" || !mentions(f, g.names, sk)) {
			return f
		}
		g.names, g.vals = names, vals
	}
	return "attribute_not_exists(nothing)"
}

func (g *gen) scan() obj {
	t := g.table()
	in := obj{"TableName": g.tableRef(t)}
	var keys []string
	global := false
	if len(t.indexes) > 0 && g.one(3) {
		i := t.indexes[g.n(len(t.indexes))]
		in["IndexName"], keys, global = i.name, []string{i.pk, i.sk}, i.name != "local"
	}
	switch g.n(4) {
	case 0:
		in["FilterExpression"] = g.condition(0)
	case 1:
		in["ScanFilter"] = obj{"x": g.legacy("x"), "n": g.legacy("n")}
	}
	if g.one(4) && in["ExclusiveStartKey"] == nil {
		total := 1 + g.n(10)
		in["TotalSegments"], in["Segment"] = total, g.n(total)
	}
	return g.reads(in, t, global, keys)
}
