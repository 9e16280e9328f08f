package main

import (
	"fmt"
	"maps"
	"strings"
)

// request returns an operation and its input. Few requests have more than one fault, because the order in which faults are found says
// less than what is said of each.
func (g generator) request() (string, obj) {
	operations := []string{"PutItem", "PutItem", "UpdateItem", "UpdateItem", "UpdateItem", "DeleteItem", "GetItem", "Query", "Query", "Scan",
		"BatchGetItem", "BatchWriteItem", "TransactWriteItems", "TransactGetItems"}
	if !g.valid {
		operations = append(operations, "ExecuteStatement", "ExecuteStatement", "ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction")
	}
	op := g.one(operations...)
	var in obj
	switch op {
	case "PutItem", "DeleteItem", "UpdateItem", "GetItem":
		in = g.single(op)
	case "Query", "Scan":
		in = g.search(op)
	case "BatchGetItem", "BatchWriteItem", "TransactWriteItems", "TransactGetItems":
		in = g.several(op)
	default:
		in = g.statements(op)
	}
	if !g.valid && g.chance(6) {
		g.spoil(op, in)
	}
	return op, in
}

// single returns the input of an operation on one item.
func (g generator) single(op string) obj {
	e := &expression{g, obj{}, obj{}}
	in := obj{"TableName": "diff", "Key": g.key()}
	switch op {
	case "PutItem":
		delete(in, "Key")
		in["Item"] = g.item()
		in["ReturnValues"] = g.one("NONE", "ALL_OLD")
	case "DeleteItem":
		in["ReturnValues"] = g.one("NONE", "ALL_OLD")
	case "UpdateItem":
		in["UpdateExpression"] = e.update()
		in["ReturnValues"] = g.one("NONE", "ALL_OLD", "ALL_NEW")
	case "GetItem":
		if g.chance(2) {
			in["ProjectionExpression"] = e.path() + ", " + e.path()
		}
	}
	if op != "GetItem" && g.chance(3) {
		in["ConditionExpression"] = e.condition(0)
	}
	e.addTo(in)
	return in
}

// search returns the input of Query or Scan.
func (g generator) search(op string) obj {
	e := &expression{g, obj{}, obj{}}
	in := obj{"TableName": "diff"}
	if op == "Scan" {
		if g.chance(3) {
			in["IndexName"] = "by-g"
		}
		if g.chance(2) {
			in["FilterExpression"] = e.condition(0)
		}
		e.addTo(in)
		return in
	}
	in["KeyConditionExpression"] = e.keyCondition()
	if in["KeyConditionExpression"] == "pk = :pk" && g.chance(3) {
		in["IndexName"] = "by-l"
	}
	in["ScanIndexForward"] = g.chance(2)
	if g.chance(3) {
		in["Limit"] = 1 + g.IntN(3)
	}
	if g.chance(3) {
		in["FilterExpression"] = e.condition(0)
	}
	if !g.valid && g.chance(4) {
		in["Select"] = g.one("COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES")
	}
	if g.chance(6) {
		in["ProjectionExpression"] = e.path()
	}
	e.addTo(in)
	return in
}

// several returns the input of a batch or transaction.
func (g generator) several(op string) obj {
	switch op {
	case "BatchGetItem":
		keys := []any{}
		for range g.count() {
			keys = append(keys, g.key())
		}
		get := obj{"Keys": keys}
		if g.chance(3) {
			get["ProjectionExpression"] = "pk, v"
		}
		return obj{"RequestItems": obj{"diff": get}}
	case "BatchWriteItem":
		writes := []any{}
		for range g.count() {
			if g.chance(2) {
				writes = append(writes, obj{"PutRequest": obj{"Item": g.item()}})
			} else {
				writes = append(writes, obj{"DeleteRequest": obj{"Key": g.key()}})
			}
		}
		return obj{"RequestItems": obj{"diff": writes}}
	case "TransactGetItems":
		gets := []any{}
		for range g.count() {
			e := &expression{g, obj{}, obj{}}
			get := obj{"TableName": "diff", "Key": g.key()}
			if g.chance(3) {
				get["ProjectionExpression"] = e.path()
			}
			e.addTo(get)
			gets = append(gets, obj{"Get": get})
		}
		return obj{"TransactItems": gets}
	}
	actions := []any{}
	for range 1 + g.IntN(3) {
		actions = append(actions, g.action())
	}
	return obj{"TransactItems": actions}
}

// count returns a number of members for a batch, which may be 0 unless g is valid.
func (g generator) count() int {
	if g.valid {
		return 1 + g.IntN(3)
	}
	return g.IntN(4)
}

// action returns an action of TransactWriteItems.
func (g generator) action() obj {
	e := &expression{g, obj{}, obj{}}
	kind := g.one("Put", "Delete", "Update", "ConditionCheck")
	in := obj{"TableName": "diff"}
	switch kind {
	case "Put":
		in["Item"] = g.item()
	case "Update":
		in["Key"], in["UpdateExpression"] = g.key(), e.update()
	default:
		in["Key"] = g.key()
	}
	if kind == "ConditionCheck" || g.chance(2) {
		in["ConditionExpression"] = e.condition(1)
		if g.chance(3) {
			in["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
		}
	}
	e.addTo(in)
	return obj{kind: in}
}

// spoil makes a fault in a request.
func (g generator) spoil(op string, in obj) {
	at := in // where members of items and keys are
	switch op {
	case "ExecuteStatement":
		switch g.IntN(3) {
		case 0:
			in["Limit"] = -g.IntN(2)
		case 1:
			in["NextToken"] = "x"
		case 2:
			in["ReturnConsumedCapacity"] = "INVALID"
		}
		return
	case "BatchExecuteStatement", "ExecuteTransaction":
		in["ReturnConsumedCapacity"] = "INVALID"
		return
	case "TransactWriteItems", "TransactGetItems":
		list := in["TransactItems"].([]any)
		if len(list) == 0 || g.chance(6) {
			in[g.one("ReturnConsumedCapacity", "ClientRequestToken")] = g.one("INVALID", "", strings.Repeat("x", 37))
			return
		}
		for _, member := range list[g.IntN(len(list))].(obj) {
			at = member.(obj)
		}
	case "BatchWriteItem", "BatchGetItem":
		g.spoilBatch(in)
		return
	}
	switch g.IntN(8) {
	case 0, 1:
		g.spoilValue(op, at)
	case 2:
		at["TableName"] = g.one("", "ab", "bad name!", "none", strings.Repeat("a", 256))
	case 3:
		delete(at, g.one("TableName", "Key", "Item", "UpdateExpression", "KeyConditionExpression", "ExpressionAttributeValues"))
	case 4:
		at[g.one("ReturnValues", "ReturnConsumedCapacity", "ReturnItemCollectionMetrics", "Select", "ConditionalOperator", "ReturnValuesOnConditionCheckFailure")] = g.one("INVALID", "", "NONE", "OR", "SIZE")
	case 5:
		at[g.one("ConditionExpression", "FilterExpression", "ProjectionExpression", "UpdateExpression")] = g.one("", "v", "v = ", "((v = :x))", "SET", "v, v", "nope(v)", "v = :nope", "#nope", "size(v)", "abort = :v0", "v.[0]")
	case 6:
		at[g.one("ExpressionAttributeNames", "ExpressionAttributeValues")] = []any{obj{}, obj{"#unused": "v"}, obj{":unused": obj{"S": "x"}}, obj{"bad": "v"}, obj{"#x": ""}}[g.IntN(5)] // also of the wrong member's type
	case 7:
		at[g.one("Limit", "Segment", "TotalSegments")] = []any{0, -1, 1000001}[g.IntN(3)]
	}
}

// spoilValue makes a fault in an attribute value or a key.
func (g generator) spoilValue(op string, in obj) {
	for _, member := range []string{"Item", "Key", "ExpressionAttributeValues", "ExclusiveStartKey"} {
		values, ok := in[member].(obj)
		switch {
		case !ok:
		case member == "ExpressionAttributeValues":
			values[":v0"] = g.badValue()
			return
		case member == "Item" && g.chance(2):
			values[g.one("v", "g", "l")] = g.badValue()
			return
		case member == "Item":
			delete(values, "pk")
			delete(values, "sk")
			maps.Copy(values, g.badKey())
			return
		default:
			in[member] = g.badKey()
			return
		}
	}
	if op == "Query" || op == "Scan" {
		in["ExclusiveStartKey"] = g.badKey()
	}
}

// spoilBatch makes a fault in a batch.
func (g generator) spoilBatch(in obj) {
	tables := in["RequestItems"].(obj)
	switch g.IntN(5) {
	case 0:
		in["RequestItems"] = []any{obj{}, nil}[g.IntN(2)]
	case 1:
		tables[g.one("", "ab", "none", "bad name!")] = tables["diff"]
		delete(tables, "diff")
	case 2:
		in[g.one("ReturnConsumedCapacity", "ReturnItemCollectionMetrics")] = "INVALID"
	default:
		switch part := tables["diff"].(type) {
		case obj:
			part["Keys"] = append(part["Keys"].([]any), g.badKey())
		case []any:
			tables["diff"] = append(part, []any{
				obj{"PutRequest": obj{"Item": g.badKey()}}, obj{"DeleteRequest": obj{"Key": g.badKey()}}, obj{}, obj{"PutRequest": obj{}},
				obj{"PutRequest": obj{"Item": g.item()}, "DeleteRequest": obj{"Key": g.key()}},
			}[g.IntN(5)])
		}
	}
}

// statements returns the input of an operation of PartiQL.
func (g generator) statements(op string) obj {
	if op == "ExecuteStatement" {
		in := obj{"Statement": g.statement()}
		if g.chance(6) {
			in["Limit"] = 1 + g.IntN(3)
		}
		return in
	}
	list := []any{}
	for range 1 + g.IntN(3) {
		list = append(list, obj{"Statement": g.statement()})
	}
	if op == "ExecuteTransaction" {
		return obj{"TransactStatements": list}
	}
	return obj{"Statements": list}
}

// statement returns a statement, which is sometimes malformed.
func (g generator) statement() string {
	key := fmt.Sprintf("pk = '%s' AND sk = %s", g.one("a", "b", "c"), g.one("1", "2", "3", "-1.5"))
	switch g.IntN(12) {
	case 0, 1, 2:
		return "SELECT " + g.one("*", "pk, sk", "v", "sk, v.x") + " FROM " + g.one("diff", `"diff"`) + " WHERE " + g.one(key, "pk = 'a'", "pk = 'b' AND "+g.predicate()) + g.one("", "", " AND "+g.predicate())
	case 3:
		return `SELECT * FROM "diff"."by-g" WHERE g = '` + g.one("g1", "g2") + "'" + g.one("", " AND "+g.predicate())
	case 4, 5:
		return fmt.Sprintf("INSERT INTO diff VALUE {'pk': '%s', 'sk': %s, '%s': %s}", g.one("a", "b", "d"), g.one("1", "7", "'x'", "-1.5"), g.one("v", "w", "g"), g.literal(0))
	case 6, 7:
		return "UPDATE diff " + g.one("SET v = "+g.literal(0), "SET v = "+g.literal(0)+" REMOVE w", "REMOVE v.x", "SET v = v + 1", "SET w = list_append(w, ["+g.literal(1)+"])", "SET sk = 1", "SET v = set_add(v, <<1>>)") +
			" WHERE " + g.one(key, key, key+" AND "+g.predicate(), "pk = 'a'") + g.one("", "", " RETURNING ALL NEW *", " RETURNING MODIFIED OLD *")
	case 8:
		return "DELETE FROM diff WHERE " + g.one(key, key, key+" AND "+g.predicate(), "pk = 'a'", "v = 1") + g.one("", " RETURNING ALL OLD *")
	case 9:
		return "EXISTS(SELECT * FROM diff WHERE " + key + g.one("", " AND "+g.predicate()) + ")"
	case 10:
		return g.one("SELECT * FROM none WHERE pk = 'a'", "SELECT FROM diff", "SELECT * diff", "SELECT * FROM diff WHERE", "SELECT * FROM diff WHERE pk", "INSERT INTO diff {'pk': 'a'}", "INSERT INTO diff VALUE {}",
			"INSERT INTO diff VALUE {'pk': 'a'}", "UPDATE diff WHERE pk = 'a'", "DELETE diff", "DROP TABLE diff", "", "SELECT * FROM diff WHERE pk = ?", "SELECT * FROM diff.none WHERE pk = 'a'", "SELECT count(*) FROM diff", "SELECT pk AS p FROM diff WHERE pk = 'a'")
	}
	return "SELECT * FROM diff WHERE " + g.predicate() + " AND pk = 'a'" + g.one("", " ORDER BY sk DESC", " ORDER BY v")
}

// predicate returns a predicate of PartiQL.
func (g generator) predicate() string {
	path := g.one("v", "w", "x", "v.x", "w[0]", "gone")
	switch g.IntN(10) {
	case 0:
		return path + " IN [" + g.literal(1) + ", " + g.literal(1) + "]"
	case 1:
		return path + " BETWEEN " + g.literal(2) + " AND " + g.literal(2)
	case 2:
		return "contains(" + path + ", " + g.literal(2) + ")"
	case 3:
		return "begins_with(" + path + ", " + g.literal(2) + ")"
	case 4:
		return "attribute_type(" + path + ", '" + g.one("S", "N", "L", "X") + "')"
	case 5:
		return path + " IS " + g.one("MISSING", "NOT MISSING", "NULL", "NOT NULL")
	case 6:
		return "size(" + path + ") > " + g.one("1", "'a'")
	case 7:
		return "NOT " + path + " = " + g.literal(0)
	}
	return path + " " + g.one("=", "<>", "<", ">=") + " " + g.literal(0)
}

// literal returns a value as PartiQL writes it.
func (g generator) literal(depth int) string {
	n := 9
	if depth > 1 {
		n = 5
	}
	switch g.IntN(n) {
	case 0, 1:
		return g.one("'x'", "'abc'", "''", "'é'")
	case 2, 3:
		return g.one("0", "1", "2.5", "-3", "1000")
	case 4:
		return g.one("true", "false", "NULL")
	case 5:
		return g.one("<<'a', 'b'>>", "<<1, 2>>", "<<1, 'a'>>", "<<>>")
	case 6:
		return "[" + g.literal(depth+1) + "]"
	}
	return "{'x': " + g.literal(depth+1) + "}"
}
