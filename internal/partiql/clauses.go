package partiql

// This file parses the statements and their clauses.

// selection parses the rest of SELECT.
func (p *parser) selection(t token) *node {
	st := &statement{distinct: p.word("distinct")}
	if !st.distinct {
		p.word("all")
	}
	if p.word("value") {
		st.value = true
		st.columns = []*node{p.expression(-1)}
	} else {
		p.columns(st)
	}
	p.clauses(st)
	return &node{form: formSelect, tok: t, at: true, statement: st}
}

// pivot parses the rest of PIVOT.
func (p *parser) pivot(t token) *node {
	st := &statement{value: true, columns: []*node{p.expression(-1)}}
	p.mustWord("at")
	st.columns = append(st.columns, p.expression(-1))
	p.clauses(st)
	return &node{form: formSelect, tok: t, at: true, statement: st}
}

// columns parses the columns of SELECT.
func (p *parser) columns(st *statement) {
	for {
		switch t := p.peek(); {
		case t.kind == tokStar:
			p.next()
			st.star = true
			st.columns = append(st.columns, nil)
		case t.word == "insert_into", t.word == "set", t.word == "remove", t.word == "update", t.word == "delete", t.word == "select",
			t.word == "from", t.word == "where":
			malformed("Expected identifier or an expression but found unexpected keyword '", t.word, "' in a select list.")
		default:
			n := p.expression(-1)
			checkColumn(n)
			p.alias(n, "as", true)
			st.columns = append(st.columns, n)
		}
		if !p.word(",") {
			break
		}
	}
	if st.star && len(st.columns) > 1 {
		malformed("Other expressions may not be present in the select list when '*' is used without dot notation.")
	}
	if st.star {
		st.columns = nil
	}
}

// checkColumn fails for wildcards that a column can't have.
func checkColumn(n *node) {
	if n.form != formPath {
		return
	}
	brackets := false
	for i, step := range n.operands[1:] {
		last := i == len(n.operands)-2
		switch {
		case step.form == formWildcard, step.form == formUnpivot && !last:
			malformed("Invalid use of * in select list")
		case step.form == formUnpivot && brackets:
			malformed("Cannot use [] and * together in SELECT list expression")
		}
		brackets = brackets || step.form != formDot
	}
}

// alias parses an alias behind a word, which may be left out if it is optional.
func (p *parser) alias(n *node, word string, optional bool) {
	named := p.peek().kind == tokIdentifier || p.peek().kind == tokQuoted
	if p.word(word) {
		if named = p.peek().kind == tokIdentifier || p.peek().kind == tokQuoted; !named {
			malformed("Expected identifier for ", symbolNames[word], "-alias")
		}
	} else if !optional {
		return
	}
	if named {
		p.next()
		n.alias = true
	}
}

// aliases parses the aliases of a source.
func (p *parser) aliases(n *node) {
	p.alias(n, "as", true)
	p.alias(n, "at", false)
	p.alias(n, "by", false)
}

// clauses parses FROM and what follows.
func (p *parser) clauses(st *statement) {
	if !p.word("from") {
		malformed("Expected FROM after SELECT list")
	}
	st.from = p.source(rankSelect)
	if p.word("let") {
		p.let()
	}
	if p.word("where") {
		st.where = p.expression(rankSelect)
	}
	if p.word("group") {
		st.group = true
		p.group()
	}
	if p.word("having") {
		st.having = p.expression(rankSelect)
	}
	if p.word("order") {
		p.mustSymbol("by")
		for {
			st.order = append(st.order, p.expression(-1))
			descending := p.word("desc")
			if !descending {
				p.word("asc")
			}
			st.descending = append(st.descending, descending)
			if p.word("nulls") && !p.word("first") && !p.word("last") {
				malformed("Expected FIRST OR LAST after NULLS")
			}
			if !p.word(",") {
				break
			}
		}
	}
	if p.word("limit") {
		st.limit = p.expression(rankSelect)
	}
	if p.word("offset") {
		st.offset = p.expression(rankSelect)
	}
}

// let parses the rest of LET, which DynamoDB ignores.
func (p *parser) let() {
	for {
		p.expression(-1)
		if !p.word("as") {
			malformed("Expected AS following LET expr")
		}
		if k := p.peek().kind; k != tokIdentifier && k != tokQuoted {
			malformed("Expected identifier for AS-alias")
		}
		p.next()
		if !p.word(",") {
			return
		}
	}
}

// group parses the rest of GROUP BY.
func (p *parser) group() {
	p.word("partial")
	p.mustSymbol("by")
	for {
		n := p.expression(rankSelect)
		if n.form == formLiteral {
			malformed("Literals (including ordinals) not supported in GROUP BY")
		}
		p.alias(n, "as", true)
		if !p.word(",") {
			break
		}
	}
	if p.word("group") {
		p.mustWord("as")
		if k := p.peek().kind; k != tokIdentifier && k != tokQuoted {
			malformed("Expected identifier for GROUP name")
		}
		p.next()
	}
}

// joins are the words between joined sources. The value tells whether a condition follows.
var joins = map[string]bool{
	",": false, "join": true, "cross_join": false, "inner_join": true, "inner_cross_join": false, "left_join": true, "left_outer_join": true,
	"left_cross_join": false, "right_join": true, "right_outer_join": true, "right_cross_join": false, "full_join": true, "outer_join": true,
	"full_outer_join": true, "full_cross_join": false, "outer_cross_join": false,
}

// source parses what FROM reads.
func (p *parser) source(rank int) *node {
	p.enter()
	defer p.leave()
	n := p.oneSource(rank)
	for {
		t := p.peek()
		condition, ok := joins[t.word]
		if !ok {
			return n
		}
		p.next()
		right := p.oneSource(rank)
		n = &node{form: formOperator, tok: t, at: true, operands: []*node{n, right}}
		if condition {
			if !p.word("on") {
				malformed("Expected 'ON'")
			}
			n.operands = append(n.operands, p.expression(rank))
		}
	}
}

// oneSource parses a source with its aliases.
func (p *parser) oneSource(rank int) *node {
	var n *node
	switch t := p.peek(); {
	case p.word("unpivot"):
		n = &node{form: formOperator, tok: t, at: true, operands: []*node{p.expression(rank)}}
	case t.word == "(" && p.after().word != "select" && !literal(p.after()):
		p.next()
		n = p.source(rank)
		p.mustSymbol(")")
	default:
		n = p.expression(rank)
	}
	p.aliases(n)
	return n
}

// literal reports whether a token is a literal value.
func literal(t token) bool {
	switch t.kind {
	case tokString, tokNumber, tokBool:
		return true
	}
	return false
}

// change parses the rest of FROM, UPDATE or DELETE.
func (p *parser) change(t token) *node {
	st := &statement{}
	n := &node{form: formChange, tok: t, at: true, statement: st}
	switch t.word {
	case "from":
		st.from = p.source(-1)
		p.where(st)
		p.actions(st)
		p.returning(st)
		return n
	case "delete":
		if !p.word("from") {
			malformed("Expected FROM after DELETE")
		}
	}
	st.from = p.simplePath()
	p.aliases(st.from)
	if t.word == "delete" {
		st.actions = []*node{{form: formDelete, tok: t, at: true}}
	} else {
		p.actions(st)
	}
	p.where(st)
	p.returning(st)
	return n
}

func (p *parser) where(st *statement) {
	if p.word("where") {
		st.where = p.expression(-1)
	}
}

// actions parses SET, REMOVE and INSERT within a statement.
func (p *parser) actions(st *statement) {
	for {
		switch p.peek().word {
		case "insert_into", "set", "remove":
			st.actions = append(st.actions, p.action())
			continue
		}
		if len(st.actions) == 0 {
			malformed(noDataManipulation)
		}
		return
	}
}

// action parses SET, REMOVE or INSERT.
func (p *parser) action() *node {
	t := p.next()
	n := &node{form: formRemove, tok: t, at: true}
	switch t.word {
	case "remove":
		n.operands = []*node{p.simplePath()}
	case "set":
		n.form = formSet
		for {
			n.operands = append(n.operands, p.simplePath())
			if !p.word("=") {
				malformed("Expected '='")
			}
			n.operands = append(n.operands, p.expression(-1))
			if !p.word(",") {
				break
			}
		}
	default:
		p.insert(n)
	}
	return n
}

// insert parses the rest of INSERT INTO.
func (p *parser) insert(n *node) {
	n.form, n.statement = formInsert, &statement{from: p.simplePath()}
	if !p.word("value") {
		n.operands = []*node{p.expression(-1)}
		return
	}
	n.form = formInsertValue
	n.operands = []*node{p.expression(-1)}
	if p.word("at") {
		n.statement.position = p.expression(-1)
	}
	if p.word("on_conflict") {
		n.statement.conflict = true
		if !p.word("where") {
			malformed("invalid ON CONFLICT syntax")
		}
		p.expression(-1)
		if !p.word("do_nothing") {
			malformed("invalid ON CONFLICT syntax")
		}
	}
	p.returning(n.statement)
}

// returning parses RETURNING, if it comes next.
func (p *parser) returning(st *statement) {
	if !p.word("returning") {
		return
	}
	for {
		r := returning{}
		switch p.next().word {
		case "all_old":
			r.what = AllOld
		case "all_new":
			r.what = AllNew
		case "modified_old":
			r.what = ModifiedOld
		case "modified_new":
			r.what = ModifiedNew
		default:
			malformed("Expected ( MODIFIED | ALL ) ( NEW | OLD ) in each returning element.")
		}
		if p.peek().kind == tokStar {
			p.next()
			r.star = true
		} else {
			switch n := p.expression(-1); {
			case n.form == formPath && len(n.operands) > 2:
				malformed("More than two paths in RETURNING columns.")
			case n.form != formPath && n.form != formName && n.form != formLiteral:
				malformed("Unsupported syntax in RETURNING columns.")
			}
		}
		st.returning = append(st.returning, r)
		if !p.word(",") {
			return
		}
	}
}
