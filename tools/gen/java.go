package main

import "fmt"

// AWS prints lists that are too long as Java does. This file writes the functions that do.

// echoes determines the shapes of requests that may be printed: what lists with a maximum consist of, and what rules say.
func (g *generator) echoes() {
	g.printed = map[string]bool{}
	if g.rules == nil {
		return
	}
	for _, n := range sortedKeys(g.Shapes) {
		s := g.Shapes[n]
		if g.inputs[n] && (s.Type == "list" && s.Max != nil || g.has(n, "keys", "java") || g.has(n, "echo")) {
			g.reach(n, g.printed)
		}
	}
}

// echoed writes the function that prints a shape, if it may be printed.
func (g *generator) echoed(name string, s *shape) {
	if !g.printed[name] || g.isAttributeValue(name) {
		return
	}
	switch s.Type {
	case "structure":
		g.p("// AppendJava appends the value as Java prints it.")
		g.p("func (v *%s) AppendJava(b []byte) []byte {", name)
		g.p("b = append(b, %q...)", name+"(")
		for i, m := range s.members {
			g.echoMember("v."+export(m.name), m, i > 0)
		}
		for _, args := range g.rulesOf(name, "hidden") {
			g.p("b = append(b, %q...)", ", "+args[0]+"=null")
		}
		g.p("return append(b, ')')\n}\n")
	case "list":
		g.p("func javaOf%s(b []byte, list %s) []byte {", name, g.goType(name, false))
		g.p("b = append(b, '[')\nfor i := range list {\nif len(b) > attribute.MaxJava { break }\nif i > 0 { b = append(b, \", \"...) }")
		g.echo("list[i]", s.Member.Shape)
		g.p("}\nreturn append(b, ']')\n}\n")
	case "map":
		if g.isAttributeValue(s.Value.Shape) {
			return
		}
		g.p("func javaOf%s(b []byte, m %s) []byte {", name, g.goType(name, false))
		g.p("b = append(b, '{')\nfor n, i := range attribute.HashOrder(len(m), 0, func(i int) string { return m[i].Key }) {")
		g.p("if len(b) > attribute.MaxJava { break }\nif n > 0 { b = append(b, \", \"...) }\nb = append(append(b, m[i].Key...), '=')")
		g.echo("m[i].Value", s.Value.Shape)
		g.p("}\nreturn append(b, '}')\n}\n")
	}
}

// echoMember writes code that appends "name=value", or "name=null".
func (g *generator) echoMember(f string, m member, separate bool) {
	head := wireName(m.name) + "="
	if separate {
		head = ", " + head
	}
	g.p("b = append(b, %q...)", head)
	g.p("if %s {", g.present(f, m.shape))
	val := f
	switch g.Shapes[m.shape].Type {
	case "string", "integer", "long", "double", "float", "boolean", "timestamp":
		val += ".Value"
	}
	g.echo(val, m.shape)
	g.p("} else {\nb = append(b, \"null\"...)\n}")
}

// echo writes code that appends a present value.
func (g *generator) echo(val, name string) {
	s := g.Shapes[name]
	switch {
	case g.isAttributeValue(name), s.Type == "structure", s.Type == "map" && g.isAttributeValue(s.Value.Shape):
		g.p("b = %s.AppendJava(b)", val)
	case s.Type == "string":
		g.p("b = append(b, %s...)", val)
	case s.Type == "boolean":
		g.p("b = strconv.AppendBool(b, %s)", val)
	case s.Type == "integer" || s.Type == "long":
		g.p("b = strconv.AppendInt(b, %s, 10)", val)
	case s.Type == "double" || s.Type == "float" || s.Type == "timestamp":
		g.p("b = strconv.AppendFloat(b, %s, 'f', -1, 64)", val)
	default:
		g.p("b = javaOf%s(b, %s)", name, val)
	}
}

// echoFunc returns the Go function that appends a list or map as AWS prints it, or nil if AWS does not print it.
func (g *generator) echoFunc(val, name string) string {
	switch {
	case g.has(name, "keys", "json"):
		return fmt.Sprintf("func(b []byte) []byte { return jsonOf%s(b, %s) }", name, val)
	case g.printed[name] && g.Shapes[name].Type != "structure":
		return fmt.Sprintf("func(b []byte) []byte { return javaOf%s(b, %s) }", name, val)
	}
	return "nil"
}
