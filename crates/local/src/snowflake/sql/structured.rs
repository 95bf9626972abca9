//! Structured types in statements, and structured columns in queries.
//!
//! The parser does not read `OBJECT(a T)`, `ARRAY(T)` and `MAP(K, V)`: before it runs, each is read here and stands as one type
//! whose argument is what was read. At rest such a column has real parts; in a query it is the JSON of its values, with their
//! parts in declared order, so that paths and functions work on it as on an OBJECT or ARRAY.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType as Arrow, FieldRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, DataFusionError, Result as PlanResult, internal_err};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};
use datafusion::prelude::SessionContext;
use sqlparser::dialect::SnowflakeDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Word};

use super::types::data_type;
use super::{Result, SqlError, typed};
use crate::snowflake::model::{ColumnDef, DataType, FieldDef, MOST_SUB_COLUMNS};
use crate::snowflake::rows;

/// What stands for a structured type; its argument is the type as JSON.
pub(super) const TYPE: &str = "FRAZIL_STRUCTURED";

/// Types within types, at most.
const DEEPEST: usize = 32;

/// Turns each structured type of a statement into one that the parser reads.
pub(super) fn collapse(tokens: &mut Vec<Token>) -> Result<()> {
    let defines = is(tokens, 0, &["CREATE", "ALTER"]) && (1..6).any(|at| is(tokens, at, &["TABLE"]));
    let mut at = 1;
    while at < tokens.len() {
        let begins =
            is(tokens, at, &["OBJECT", "ARRAY", "MAP"]) && tokens.get(at + 1) == Some(&Token::LParen);
        let literal =
            is(tokens, at, &["DECFLOAT"]) && matches!(tokens.get(at + 1), Some(Token::SingleQuotedString(_)));
        if literal {
            // DECFLOAT '1.5' is '1.5'::DECFLOAT.
            tokens.swap(at, at + 1);
            tokens.insert(at + 1, Token::DoubleColon);
            at += 2;
        } else if begins && is_type(tokens, at, defines) {
            let mut reader = Reader { tokens, at };
            let read = reader.read(0)?;
            let end = reader.at;
            if read.sub_columns() > MOST_SUB_COLUMNS {
                return Err(SqlError::syntax(format!(
                    "a structured type has more than {MOST_SUB_COLUMNS} sub-columns"
                )));
            }
            let text = serde_json::to_string(&read).map_err(SqlError::syntax)?;
            let name = Token::make_word(TYPE, None);
            let stands = [
                name,
                Token::LParen,
                Token::SingleQuotedString(text),
                Token::RParen,
            ];
            tokens.splice(at..end, stands);
        }
        at += 1;
    }
    Ok(())
}

/// Whether a type stands at this place: behind `::` or AS, or behind a column's name.
fn is_type(tokens: &[Token], at: usize, defines: bool) -> bool {
    let Some(before) = at.checked_sub(1) else {
        return false;
    };
    if tokens[before] == Token::DoubleColon || is(tokens, before, &["AS"]) {
        return true;
    }
    let named = matches!(tokens[before], Token::Word(_));
    let column = before.checked_sub(1).is_some_and(|first| {
        matches!(tokens[first], Token::LParen | Token::Comma)
            || is(tokens, first, &["COLUMN", "EXISTS", "ADD"])
    });
    defines && named && column
}

/// Whether one of these words stands unquoted at this place.
fn is(tokens: &[Token], at: usize, words: &[&str]) -> bool {
    matches!(tokens.get(at), Some(Token::Word(Word { value, quote_style: None, .. })) if words.iter().any(|word| value.eq_ignore_ascii_case(word)))
}

struct Reader<'t> {
    tokens: &'t [Token],
    at: usize,
}

impl Reader<'_> {
    fn read(&mut self, depth: usize) -> Result<DataType> {
        if depth > DEEPEST {
            return Err(SqlError::unsupported("types nested that deeply"));
        }
        let structured = self.tokens.get(self.at + 1) == Some(&Token::LParen);
        let word = |words: &[&str]| structured && is(self.tokens, self.at, words);
        if word(&["OBJECT"]) {
            self.at += 2;
            let mut fields: Vec<FieldDef> = Vec::new();
            loop {
                let name = self.name()?;
                if fields.iter().any(|field| field.name == name) {
                    return Err(SqlError::syntax(format!(
                        "duplicate key '{name}' in a structured OBJECT"
                    )));
                }
                fields.push(self.field(&name, depth)?);
                if !self.goes_on()? {
                    return Ok(DataType::Struct { fields });
                }
            }
        }
        if word(&["ARRAY"]) {
            self.at += 2;
            let element = Box::new(self.field("element", depth)?);
            self.closes()?;
            return Ok(DataType::List { element });
        }
        if word(&["MAP"]) {
            self.at += 2;
            let mut key = Box::new(self.field("key", depth)?);
            let plain = matches!(
                key.data_type,
                DataType::Varchar { .. } | DataType::Int | DataType::Long
            ) || matches!(key.data_type, DataType::Number { scale: 0, .. });
            if !plain || !self.goes_on()? {
                return Err(SqlError::syntax(
                    "a MAP has a key, VARCHAR or a whole number, and a value",
                ));
            }
            key.nullable = false;
            let value = Box::new(self.field("value", depth)?);
            self.closes()?;
            return Ok(DataType::Map { key, value });
        }
        self.plain()
    }

    fn name(&mut self) -> Result<String> {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word.value.clone())
            }
            _ => Err(SqlError::syntax("a structured OBJECT wants the name of a key")),
        }
    }

    fn field(&mut self, name: &str, depth: usize) -> Result<FieldDef> {
        let data_type = self.read(depth + 1)?;
        let nullable = !(is(self.tokens, self.at, &["NOT"]) && is(self.tokens, self.at + 1, &["NULL"]));
        self.at += if nullable { 0 } else { 2 };
        let name = name.to_owned();
        Ok(FieldDef {
            name,
            data_type,
            nullable,
        })
    }

    /// Over a comma, or over the closing parenthesis.
    fn goes_on(&mut self) -> Result<bool> {
        let more = match self.tokens.get(self.at) {
            Some(Token::Comma) => true,
            Some(Token::RParen) => false,
            _ => {
                return Err(SqlError::syntax(
                    "a structured type wants ',' or ')' behind a part",
                ));
            }
        };
        self.at += 1;
        Ok(more)
    }

    fn closes(&mut self) -> Result<()> {
        match self.goes_on()? {
            false => Ok(()),
            true => Err(SqlError::syntax("too many parts in a structured type")),
        }
    }

    /// A type without parts: up to NOT, or to what ends it.
    fn plain(&mut self) -> Result<DataType> {
        let from = self.at;
        let mut depth = 0_usize;
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::LParen => depth += 1,
                Token::RParen | Token::Comma if depth == 0 => break,
                Token::RParen => depth -= 1,
                _ if depth == 0 && is(self.tokens, self.at, &["NOT"]) => break,
                _ => {}
            }
            self.at += 1;
        }
        let text = self.tokens.get(from..self.at).unwrap_or_default().to_vec();
        let mut parser = Parser::new(&SnowflakeDialect {}).with_tokens(text);
        let parsed = parser.parse_data_type().map_err(SqlError::syntax)?;
        if parser.peek_token().token != Token::EOF {
            return Err(SqlError::syntax(format!(
                "{parsed} is followed by what is no part of a type"
            )));
        }
        // What they are is settled by the table: 38 digits, or Iceberg's bits.
        Ok(match parsed.to_string().to_uppercase().as_str() {
            "INT" | "INTEGER" | "SMALLINT" | "TINYINT" => DataType::Int,
            "BIGINT" | "LONG" => DataType::Long,
            _ => match data_type(&parsed)? {
                DataType::Decfloat | DataType::Vector { .. } => {
                    return Err(SqlError::syntax(format!(
                        "{parsed} is no part of a structured type"
                    )));
                }
                plain => plain,
            },
        })
    }
}

/// The type of a parsed one's arguments, as it was read.
pub(super) fn read(arguments: &[String]) -> Result<DataType> {
    let text = arguments.first().map(String::as_str).unwrap_or_default();
    serde_json::from_str(text).map_err(|_| SqlError::syntax(format!("the type {TYPE}")))
}

/// The type of a parsed one's arguments, as tables that are not Iceberg have it.
pub(super) fn standard(arguments: &[String]) -> Result<DataType> {
    read(arguments)?.map_leaves(&|leaf| {
        Ok(match leaf {
            DataType::Int | DataType::Long => DataType::Number {
                precision: 38,
                scale: 0,
            },
            other => other.clone(),
        })
    })
}

/// A structured type as SQL writes it, its parts' types by `plain`.
pub(super) fn text(structured: &DataType, plain: &impl Fn(&DataType) -> String) -> String {
    let part = |part: &FieldDef| {
        let not_null = if part.nullable { "" } else { " NOT NULL" };
        format!("{}{not_null}", plain(&part.data_type))
    };
    match structured {
        DataType::Struct { fields } => {
            let fields = fields
                .iter()
                .map(|field| format!("{} {}", key(&field.name), part(field)));
            format!("OBJECT({})", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::List { element } => format!("ARRAY({})", part(element)),
        DataType::Map { key, value } => format!("MAP({}, {})", plain(&key.data_type), part(value)),
        other => plain(other),
    }
}

/// A key as the reader takes it back: the case is kept either way.
fn key(name: &str) -> String {
    let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    if begins
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A stored table as queries see it: each column of the type that SQL knows it by.
pub(super) fn shown(
    state: &SessionState,
    columns: &[ColumnDef],
    stored: Arc<dyn TableProvider>,
) -> std::result::Result<Arc<dyn TableProvider>, DataFusionError> {
    let schema = stored.schema();
    let as_is = |field: &FieldRef| {
        let known = columns.iter().find(|column| column.name == *field.name());
        known.is_none_or(|column| is_shown_by(rows::field(column).data_type(), field.data_type()))
    };
    if schema.fields().iter().all(as_is) {
        return Ok(stored);
    }
    let function = ScalarUDF::from(Json {
        signature: Signature::any(1, Volatility::Immutable),
    });
    let selected: Vec<Expr> = schema
        .fields()
        .iter()
        .filter(|field| !rows::zoned::is_offset(field.name()))
        .map(|field| {
            let column = Expr::Column(Column::new_unqualified(field.name()));
            let Some(known) = columns.iter().find(|known| known.name == *field.name()) else {
                return column;
            };
            let wanted = rows::field(known);
            if matches!(known.data_type, DataType::TimestampTz { .. }) {
                let offsets = Expr::Column(Column::new_unqualified(rows::zoned::offset_name(field.name())));
                let zoned = typed::function(typed::Step::Zoned).call(vec![column, offsets]);
                zoned.alias(field.name())
            } else if known.data_type.is_structured() {
                function.call(vec![column]).alias(field.name())
            } else if is_shown_by(wanted.data_type(), field.data_type()) {
                column
            } else {
                cast(column, wanted.data_type().clone()).alias(field.name())
            }
        })
        .collect();
    let context = SessionContext::new_with_state(state.clone());
    Ok(context.read_table(stored)?.select(selected)?.into_view())
}

/// Whether values of one type are those of another to a query as they are.
fn is_shown_by(wanted: &Arrow, stored: &Arrow) -> bool {
    wanted == stored || (*wanted == Arrow::Utf8 && *stored == Arrow::Utf8View)
}

/// `frazil_parts(v)`: a value with parts as JSON.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Json {
    signature: Signature,
}

impl ScalarUDFImpl for Json {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn name(&self) -> &str {
        "frazil_parts"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[Arrow]) -> PlanResult<Arrow> {
        Ok(Arrow::Utf8)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> PlanResult<FieldRef> {
        let kind = match arguments.arg_fields.first().map(|field| field.data_type()) {
            Some(Arrow::Struct(_)) => DataType::Object,
            Some(Arrow::Map(..)) => DataType::Object,
            Some(Arrow::List(_)) => DataType::Array,
            _ => return internal_err!("a value without parts"),
        };
        Ok(Arc::new(rows::field(&ColumnDef::new(self.name(), kind))))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let Some(given) = arguments.args.first() else {
            return internal_err!("one value is missing");
        };
        let given: ArrayRef = given.to_array(arguments.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(rows::parts_as_json(&given)?)))
    }
}
