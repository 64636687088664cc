package lint

import (
	"go/ast"
	"go/token"
	"slices"
)

// comparers are the functions that compare a name with others.
var comparers = []string{"EqualFold", "Compare", "Contains", "HasPrefix", "HasSuffix", "Index"}

// checkNames returns each place in server where a name is compared with a literal, or a row
// of the command table is looked up by one. What is special about a command is a flag or a
// field of its row, where it is seen beside all others. Tests may ask for a row by name.
func checkNames(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if !within(f.dir(), "server") || f.isTest() {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if n != nil && namesCommand(n) {
				problems = append(problems, f.at(n.Pos(), "a command is known by a literal: make it a flag or a field of its row"))
			}
			return true
		})
	}
	return problems
}

// namesCommand reports whether a node compares a name with a literal, in whatever form.
func namesCommand(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		compares := n.Op == token.EQL || n.Op == token.NEQ
		return compares && (isName(n.X) && isWord(n.Y) || isWord(n.X) && isName(n.Y))
	case *ast.SwitchStmt:
		return n.Tag != nil && isName(n.Tag) && slices.ContainsFunc(n.Body.List, func(s ast.Stmt) bool {
			return slices.ContainsFunc(s.(*ast.CaseClause).List, isWord)
		})
	case *ast.IndexExpr: // a table's maps, or a set of names
		return isWord(n.Index) && ends(n.X, "byName", "called") || isName(n.Index) && holdsWord(n.X)
	case *ast.CallExpr: // strings.EqualFold(cmd.name, "x"), slices.Contains([]string{"x"}, cmd.name)
		called, ok := n.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		if called.Sel.Name == "named" || called.Sel.Name == "lookup" {
			return slices.ContainsFunc(n.Args, holdsWord)
		}
		return slices.Contains(comparers, called.Sel.Name) &&
			slices.ContainsFunc(n.Args, isName) && slices.ContainsFunc(n.Args, holdsWord)
	}
	return false
}

// isName reports whether an expression is the name of a row: cmd.name, cmd.container or
// cmd.fullName().
func isName(e ast.Expr) bool {
	if call, ok := e.(*ast.CallExpr); ok {
		return ends(call.Fun, "fullName")
	}
	return ends(e, "name", "container")
}

// ends reports whether an expression is a selector of one of the names.
func ends(e ast.Expr, names ...string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	return ok && slices.Contains(names, sel.Sel.Name)
}

// isWord reports whether an expression is a string literal that is not empty.
func isWord(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Kind == token.STRING && len(lit.Value) > 2
}

// holdsWord reports whether there is such a literal anywhere in an expression.
func holdsWord(e ast.Expr) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		part, ok := n.(ast.Expr)
		found = found || ok && isWord(part)
		return !found
	})
	return found
}
