package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

type obj = map[string]any

// generator generates random requests on the table "diff".
type generator struct {
	*rand.Rand
	valid bool // only requests that are well-formed; they may be refused for what is in the table
}

func (g generator) one(list ...string) string { return list[g.IntN(len(list))] }

// chance reports true once in n times.
func (g generator) chance(n int) bool { return g.IntN(n) == 0 }

func (g generator) key() obj {
	return obj{"pk": obj{"S": g.one("a", "b", "c")}, "sk": obj{"N": g.one("1", "2", "3", "-1.5", "10")}}
}

func (g generator) value(depth int) any {
	n := 12
	if depth > 2 {
		n = 6
	}
	switch g.IntN(n) {
	case 0, 1:
		return obj{"S": g.one("", "x", "abc", "abd", "é")}
	case 2, 3:
		return obj{"N": g.one("0", "1", "2.5", "-3", "1000", "100", "0.0001")}
	case 4:
		return obj{"BOOL": g.chance(2)}
	case 5:
		return obj{"NULL": true}
	case 6:
		return obj{"B": g.one("AQ==", "AQI=")}
	case 7:
		return obj{"SS": [][]string{{"a"}, {"b", "a"}, {"x", "y", "z"}}[g.IntN(3)]}
	case 8:
		return obj{"NS": [][]string{{"1"}, {"2", "10"}}[g.IntN(2)]}
	case 9, 10:
		list := []any{}
		for range g.IntN(3) {
			list = append(list, g.value(depth+1))
		}
		return obj{"L": list}
	}
	m := obj{}
	for range g.IntN(3) {
		m[g.one("x", "y", "z")] = g.value(depth + 1)
	}
	return obj{"M": m}
}

// badValue returns what is no valid attribute value.
func (g generator) badValue() any {
	list := []any{
		obj{}, obj{"S": "a", "N": "1"}, obj{"N": ""}, obj{"N": "abc"}, obj{"N": "1e126"}, obj{"N": "1e-131"}, obj{"N": strings.Repeat("1", 39)},
		obj{"NULL": false}, obj{"SS": []string{}}, obj{"NS": []string{}}, obj{"BS": []string{}}, obj{"SS": []string{"a", "b", "a"}},
		obj{"NS": []string{"1", "1.0"}}, obj{"BS": []string{"AQ==", "AQ=="}}, obj{"NS": []string{"x"}}, obj{"L": []any{obj{}}},
		obj{"M": obj{"a": obj{"N": "x"}}}, obj{"M": obj{"": obj{"S": "x"}}},
	}
	return list[g.IntN(len(list))]
}

func (g generator) item() obj {
	it := g.key()
	for range g.IntN(5) {
		it[g.one("v", "w", "x", "y")] = g.value(0)
	}
	if g.chance(2) {
		it["g"] = obj{"S": g.one("g1", "g2")}
	}
	if g.chance(2) {
		it["l"] = it["sk"] // distinct within a partition, because the order of equal keys is undefined
	}
	return it
}

// badKey returns a key, or an item's key attributes, with a fault.
func (g generator) badKey() obj {
	k := g.key()
	switch g.IntN(7) {
	case 0:
		delete(k, "sk")
	case 1:
		delete(k, "pk")
	case 2:
		k["pk"] = obj{"N": "1"}
	case 3:
		k["sk"] = obj{"S": "1"}
	case 4:
		k["pk"] = obj{"S": ""}
	case 5:
		k["sk"] = g.badValue()
	case 6:
		k["more"] = obj{"S": "x"}
	}
	return k
}

// expression collects the placeholders that it uses.
type expression struct {
	generator
	names, values obj
}

func (e *expression) val() string {
	name := fmt.Sprintf(":v%d", len(e.values))
	e.values[name] = e.value(0)
	return name
}

func (e *expression) path() string {
	p := e.one("v", "w", "x", "y", "gone")
	if e.chance(8) {
		e.names["#n"] = p
		p = "#n"
	}
	for e.chance(3) {
		p += e.one(".x", ".y", "[0]", "[1]")
	}
	return p
}

func (e *expression) operand() string {
	switch e.IntN(5) {
	case 0:
		return "size(" + e.path() + ")"
	case 1, 2:
		return e.path()
	}
	return e.val()
}

func (e *expression) condition(depth int) string {
	n := 12
	if depth > 2 {
		n = 8
	}
	switch e.IntN(n) {
	case 0:
		return "attribute_exists(" + e.path() + ")"
	case 1:
		return "attribute_not_exists(" + e.path() + ")"
	case 2:
		return "contains(" + e.path() + ", " + e.val() + ")"
	case 3:
		return "begins_with(" + e.path() + ", " + e.val() + ")"
	case 4:
		return e.operand() + " BETWEEN " + e.operand() + " AND " + e.operand()
	case 5:
		return e.operand() + " IN (" + e.operand() + ", " + e.operand() + ")"
	case 6, 7:
		return e.operand() + " " + e.one("=", "<>", "<", "<=", ">", ">=") + " " + e.operand()
	case 8:
		return "NOT " + e.condition(depth+1)
	case 9:
		return "(" + e.condition(depth+1) + ")"
	}
	return e.condition(depth+1) + " " + e.one("AND", "OR", "and") + " " + e.condition(depth+1)
}

func (e *expression) update() string {
	var parts []string
	for _, section := range []string{"SET", "REMOVE", "ADD", "DELETE"} {
		if !e.chance(3) {
			continue
		}
		switch section {
		case "SET":
			right := e.val()
			switch e.IntN(6) {
			case 0:
				right = e.path()
			case 1:
				right = e.path() + e.one(" + ", " - ") + e.val()
			case 2:
				right = "if_not_exists(" + e.path() + ", " + e.val() + ")"
			case 3:
				right = "list_append(" + e.path() + ", " + e.val() + ")"
			}
			parts = append(parts, "SET "+e.path()+" = "+right)
		case "REMOVE":
			parts = append(parts, "REMOVE "+e.path())
		default:
			parts = append(parts, section+" "+e.path()+" "+e.val())
		}
	}
	if parts == nil {
		return "SET v = " + e.val()
	}
	return strings.Join(parts, " ")
}

// keyCondition returns a key condition. Unless e is valid, every third one is malformed.
func (e *expression) keyCondition() string {
	e.values[":pk"] = obj{"S": e.one("a", "b", "c")}
	number := func(name string) string {
		e.values[name] = obj{"N": e.one("-5", "-2", "1", "2", "10")}
		return name
	}
	n := 18
	if e.valid {
		n = 11
	}
	switch e.IntN(n) {
	case 0, 1, 2, 3:
		return "pk = :pk"
	case 4, 5, 6:
		return "pk = :pk AND sk " + e.one("=", "<", "<=", ">", ">=") + " " + number(":a")
	case 7, 8:
		e.values[":b"] = obj{"N": e.one("2", "10", "-7")}
		return "pk = :pk AND sk BETWEEN " + number(":a") + " AND :b"
	case 9:
		return "sk = " + number(":a") + " AND pk = :pk"
	case 10:
		return "(pk = :pk) AND (sk > " + number(":a") + ")"
	case 11:
		return "pk " + e.one("<", "<>", ">=") + " :pk"
	case 12:
		return "pk = :pk " + e.one("OR", "AND NOT") + " sk = " + number(":a")
	case 13:
		return "pk = :pk AND " + e.one("v", "l", "g") + " = " + number(":a")
	case 14:
		return "pk = :pk AND sk > " + number(":a") + " AND sk < " + number(":b")
	case 15:
		return e.one("pk = :pk AND begins_with(sk, :pk)", "pk = :pk AND sk = :pk", "begins_with(pk, :pk)", "contains(pk, :pk)", "pk = :pk AND attribute_exists(sk)")
	case 16:
		return e.one("", "pk", "pk = ", "pk = :pk AND", "pk = :nope", "#nope = :pk", "((pk = :pk))", "pk.x = :pk", ":pk = pk", "pk = sk", "size(pk) = :pk", "pk IN (:pk)")
	}
	return "pk = :pk AND sk <> " + number(":a")
}

func (e *expression) addTo(in obj) {
	if len(e.names) > 0 {
		in["ExpressionAttributeNames"] = e.names
	}
	if len(e.values) > 0 {
		in["ExpressionAttributeValues"] = e.values
	}
}
