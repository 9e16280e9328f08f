package partiql

import "strings"

// words returns a set of words.
func words(text string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(text) {
		out[w] = true
	}
	return out
}

// keywords can be names only in quotes ("PartiQL specification", reserved words).
var keywords = words(`absolute action add all allocate alter and any are as asc assertion at authorization avg begin between bit bit_length by
	cascade cascaded case cast catalog char character character_length char_length check close coalesce collate collation column commit connect
	connection constraint constraints continue convert corresponding count create cross current current_date current_time current_timestamp
	current_user cursor date deallocate dec decimal declare default deferrable deferred delete desc describe descriptor diagnostics disconnect
	distinct domain double drop else end escape except exception exec execute exists external extract date_add date_diff fetch first float for
	foreign found from full get global go goto grant group having identity immediate in indicator initially inner input insensitive insert int
	integer intersect interval into is isolation join key language last left level like local lower match max min module names national natural
	nchar next no not nullif numeric octet_length of on only open option or order outer output overlaps pad partial position precision prepare
	preserve primary prior privileges procedure public read real references relative restrict revoke right rollback rows schema scroll section
	select session session_user set size smallint some space sql sqlcode sqlerror sqlstate substring sum system_user table temporary then time
	timestamp to transaction translate translation trim union unique unknown update upper usage user using value values varchar varying view
	when whenever where with work write zone
	can_cast can_lossless_cast pivot unpivot limit offset tuple remove index let integer2 int2 integer4 int4 integer8 int8 bigint conflict do
	nothing returning modified new old bool boolean string symbol clob blob struct list sexp bag`)

// wordOperators are the keywords that are operators.
var wordOperators = words("and or not is in like between union except intersect")

// particles are the keywords that stand only within clauses.
var particles = words("as at by for asc desc nulls first last")

// classify returns a bare word's kind, and its lower case if it is a keyword.
func classify(text string) (kind, string) {
	switch word := strings.ToLower(text); {
	case wordOperators[word]:
		return tokOperator, word
	case word == "true", word == "false":
		return tokBool, ""
	case word == "null":
		return tokNull, word
	case word == "missing":
		return tokMissing, word
	case particles[word]:
		return tokParticle, word
	case keywords[word]:
		if alias := typeAliases[word]; alias != "" {
			word = alias
		}
		return tokKeyword, word
	}
	return tokIdentifier, ""
}

// joined are the words that make one token.
var joined = map[string]kind{
	"not in": tokOperator, "is not": tokOperator, "not between": tokOperator, "not like": tokOperator,
	"union all": tokOperator, "except all": tokOperator, "intersect all": tokOperator,
	"character varying": tokKeyword, "double precision": tokKeyword, "insert into": tokKeyword, "on conflict": tokKeyword,
	"do nothing": tokKeyword, "modified old": tokKeyword, "modified new": tokKeyword, "all old": tokKeyword, "all new": tokKeyword,
	"cross join": tokKeyword, "inner join": tokKeyword, "inner cross join": tokKeyword, "left join": tokKeyword, "left outer join": tokKeyword,
	"left cross join": tokKeyword, "right join": tokKeyword, "right outer join": tokKeyword, "right cross join": tokKeyword,
	"full join": tokKeyword, "outer join": tokKeyword, "full outer join": tokKeyword, "full cross join": tokKeyword, "outer cross join": tokKeyword,
}

// ranks are the precedences of the infix operators; the strongest is the highest.
var ranks = map[string]int{
	"union": rankSet, "union_all": rankSet, "except": rankSet, "except_all": rankSet, "intersect": rankSet, "intersect_all": rankSet,
	"or": 10, "and": 20,
	"=": 40, "<>": 40, "is": 40, "is_not": 40, "in": 40, "not_in": 40,
	"<": 50, "<=": 50, ">": 50, ">=": 50, "between": 50, "not_between": 50, "like": 50, "not_like": 50,
	"+": 60, "-": 60, "||": 60,
	"*": 70, "/": 70, "%": 70,
}

const (
	rankSet    = 5  // set operators
	rankSelect = 6  // the clauses of SELECT
	rankNot    = 30 // NOT, a prefix
)

// functionWords are the keywords that name functions.
var functionWords = words(`exists count avg max min sum substring char_length character_length octet_length bit_length upper lower size nullif coalesce
	sexp list bag trim extract date_add date_diff`)

// aggregates are the functions of groups.
var aggregates = words("count avg max min sum")

// typeAliases are other words for types.
var typeAliases = map[string]string{
	"varchar": "character_varying", "char": "character", "dec": "decimal", "int": "integer", "int2": "smallint", "integer2": "smallint",
	"int4": "integer4", "int8": "integer8", "bigint": "integer8", "bool": "boolean",
}

// typeParameters are the types after IS, with the number of parameters that they may have.
var typeParameters = map[string]int{
	"missing": 0, "null": 0, "boolean": 0, "smallint": 0, "integer4": 0, "integer8": 0, "integer": 0, "float": 1, "real": 0, "double_precision": 0,
	"decimal": 2, "numeric": 2, "timestamp": 0, "date": 0, "time": 1, "character": 1, "character_varying": 1, "string": 0, "symbol": 0, "clob": 0,
	"blob": 0, "struct": 0, "tuple": 0, "list": 0, "sexp": 0, "bag": 0,
}
