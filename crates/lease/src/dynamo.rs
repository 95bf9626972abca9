//! The lease table in DynamoDB.
//!
//! How it works: reads are consistent Queries and GetItems, every change is one UpdateItem with the conditions of its
//! [`Update`]. IAM actions: `DescribeTable`, `CreateTable`, `GetItem`, `Query`, `UpdateItem`, on the application's table and no
//! index. Expressions follow the DynamoDB developer guide ("Expressions"): strings are compared by their UTF-8 bytes.
//!
//! What it guarantees: each call is sent once. The SDK does not try again by itself: an answer that did not come is told to the
//! caller, who knows how to recognise its own write. What it does not: no time limit of its own beyond the SDK's connect timeout;
//! the coordinator bounds each call.

mod admin;
mod failure;

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableDescription, TableStatus,
};

use crate::admin::TableAdmin;
use crate::error::Error;
use crate::migrate::migration_table;
use crate::row::{Attribute, Item, name};
use crate::store::{LeaseStore, Scope, Written};
use crate::update::{Condition, Update};
use failure::{Call, code_of, to_error};

type Values = HashMap<String, AttributeValue>;

/// The real door to lease tables: one AWS account and region.
pub struct DynamoLeases {
    client: Client,
}

impl fmt::Debug for DynamoLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoLeases").finish_non_exhaustive()
    }
}

impl DynamoLeases {
    /// A door with the credentials, region and HTTP client of `sdk`; `endpoint` replaces the service's own address.
    #[must_use]
    pub fn new(sdk: &SdkConfig, endpoint: Option<String>) -> Self {
        let mut config = Builder::from(sdk)
            .behavior_version(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled());
        if endpoint.is_some() {
            config.set_endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(config.build()),
        }
    }

    async fn create_table(&self, table: &str) -> Result<(), Error> {
        let call = Call {
            action: "CreateTable",
            table,
        };
        let mut request = self
            .client
            .create_table()
            .table_name(table)
            .billing_mode(BillingMode::PayPerRequest);
        for (attribute, kind) in KEY {
            let definition = AttributeDefinition::builder()
                .attribute_name(attribute)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .expect("name and type are given");
            let element = KeySchemaElement::builder()
                .attribute_name(attribute)
                .key_type(kind)
                .build()
                .expect("name and type are given");
            request = request.attribute_definitions(definition).key_schema(element);
        }
        match request.send().await {
            Ok(_) => Ok(()),
            // Another worker was faster.
            Err(error) if code_of(&error) == Some("ResourceInUseException") => Ok(()),
            Err(error) => Err(to_error(call, &error)),
        }
    }
}

const KEY: [(&str, KeyType); 2] = [
    (name::STREAM_NAME, KeyType::Hash),
    (name::SHARD_ID, KeyType::Range),
];

/// Refuses a table of another layout, or one that cannot be used yet.
fn check(table: &str, description: &TableDescription) -> Result<(), Error> {
    let types: HashMap<&str, &ScalarAttributeType> = description
        .attribute_definitions()
        .iter()
        .map(|d| (d.attribute_name(), d.attribute_type()))
        .collect();
    let key: Vec<(&str, &KeyType)> = description
        .key_schema()
        .iter()
        .map(|k| (k.attribute_name(), k.key_type()))
        .collect();
    let expected = KEY.iter().map(|(name, kind)| (*name, kind));
    let strings = KEY
        .iter()
        .all(|(name, _)| types.get(name) == Some(&&ScalarAttributeType::S));
    if !key.iter().copied().eq(expected) || !strings {
        let parts = key.iter().map(|(name, kind)| {
            format!(
                "{name} ({}, {})",
                kind.as_str(),
                types.get(name).map_or("?", |kind| kind.as_str())
            )
        });
        let kinesis_client_library = matches!(key[..], [("leaseKey", KeyType::Hash)]);
        return Err(Error::ForeignLayout {
            table: table.to_owned(),
            found: parts.collect::<Vec<_>>().join(", "),
            hint: if kinesis_client_library {
                "; this one is the Kinesis Client Library's"
            } else {
                ""
            },
        });
    }
    match not_ready(table, description)? {
        None => Ok(()),
        Some(status) => Err(Error::TableNotReady {
            table: table.to_owned(),
            status,
        }),
    }
}

/// The status of a table that will be ready some time; none where it is. A table that is updated can be used meanwhile (DynamoDB
/// API reference, `TableDescription`).
fn not_ready(table: &str, description: &TableDescription) -> Result<Option<String>, Error> {
    let status = match description.table_status() {
        Some(TableStatus::Active | TableStatus::Updating) => return Ok(None),
        status => status.map_or("unknown", TableStatus::as_str).to_owned(),
    };
    let next = match description.table_status() {
        Some(TableStatus::InaccessibleEncryptionCredentials) => {
            "DynamoDB may not use the KMS key of this table; enable the key, or let its policy allow DynamoDB again, within \
             seven days, and start again"
        }
        Some(TableStatus::Archiving | TableStatus::Archived) => {
            "its KMS key was out of reach for more than seven days, and DynamoDB made a backup of it; delete the table and \
             restore that under its name (without it, reading begins at initial_position)"
        }
        _ => return Ok(Some(status)),
    };
    let table = table.to_owned();
    Err(Error::TableUnusable { table, status, next })
}

fn to_value(attribute: &Attribute) -> AttributeValue {
    match attribute {
        Attribute::S(text) => AttributeValue::S(text.clone()),
        Attribute::N(text) => AttributeValue::N(text.clone()),
        Attribute::Bool(value) => AttributeValue::Bool(*value),
        // Nothing of ours has this type; NULL equals no string, number or truth value.
        Attribute::Other => AttributeValue::Null(true),
    }
}

fn to_item(values: &Values) -> Item {
    let attributes = values.iter().map(|(name, value)| {
        let attribute = match value {
            AttributeValue::S(text) => Attribute::S(text.clone()),
            AttributeValue::N(text) => Attribute::N(text.clone()),
            AttributeValue::Bool(value) => Attribute::Bool(*value),
            _ => Attribute::Other,
        };
        (name.clone(), attribute)
    });
    attributes.collect()
}

/// An [`Update`] as DynamoDB's expressions.
#[derive(Debug, Default, PartialEq)]
struct Expressions {
    condition: String,
    update: String,
    values: Values,
}

impl Expressions {
    fn value(&mut self, attribute: &Attribute) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), to_value(attribute));
        placeholder
    }

    fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::Absent(name) => format!("attribute_not_exists({name})"),
            Condition::Is(name, value) => format!("{name} = {}", self.value(value)),
            Condition::Below(name, value) => format!("{name} < {}", self.value(value)),
            Condition::AtMost(name, value) => format!("{name} <= {}", self.value(value)),
            Condition::Same(one, two) => format!("{one} = {two}"),
            Condition::Any(any) => {
                let any: Vec<String> = any.iter().map(|one| self.condition(one)).collect();
                format!("({})", any.join(" OR "))
            }
        }
    }

    fn of(update: &Update) -> Self {
        let mut this = Self::default();
        let conditions: Vec<String> = update.conditions.iter().map(|one| this.condition(one)).collect();
        this.condition = conditions.join(" AND ");
        let sets: Vec<String> = update
            .set
            .iter()
            .map(|(name, value)| format!("{name} = {}", this.value(value)))
            .collect();
        if !sets.is_empty() {
            this.update = format!("SET {}", sets.join(", "));
        }
        if !update.remove.is_empty() {
            let gap = if this.update.is_empty() { "" } else { " " };
            write!(this.update, "{gap}REMOVE {}", update.remove.join(", ")).expect("a String takes all text");
        }
        this
    }
}

#[async_trait]
impl LeaseStore for DynamoLeases {
    async fn prepare(&self, scope: &Scope) -> Result<(), Error> {
        let table = &scope.application;
        let call = Call {
            action: "DescribeTable",
            table,
        };
        match self.client.describe_table().table_name(table).send().await {
            Ok(answer) => match answer.table() {
                Some(description) => check(table, description),
                None => Err(Error::TableMissing { table: table.clone() }),
            },
            Err(error) if code_of(&error) == Some("ResourceNotFoundException") => {
                if self.takeover_unfinished(scope).await? {
                    return Err(Error::Takeover {
                        table: table.clone(),
                        detail: format!(
                            "it is gone, and {} stands: a takeover was not finished; run it again",
                            migration_table(table)
                        ),
                    });
                }
                self.create_table(table).await?;
                Err(Error::TableNotReady {
                    table: table.clone(),
                    status: "CREATING".to_owned(),
                })
            }
            Err(error) => Err(to_error(call, &error)),
        }
    }

    async fn takeover_unfinished(&self, scope: &Scope) -> Result<bool, Error> {
        match self.describe(&migration_table(&scope.application)).await {
            Ok(table) => Ok(table.is_some()),
            Err(Error::AccessDenied { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn rows(&self, scope: &Scope, prefix: &str) -> Result<Vec<Item>, Error> {
        let call = Call {
            action: "Query",
            table: &scope.application,
        };
        let mut rows = Vec::new();
        let mut from: Option<Values> = None;
        loop {
            let mut request = self
                .client
                .query()
                .table_name(&scope.application)
                .consistent_read(true)
                .expression_attribute_values(":stream", AttributeValue::S(scope.stream.to_string()))
                .key_condition_expression("streamName = :stream")
                .set_exclusive_start_key(from.take());
            if !prefix.is_empty() {
                request = request
                    .key_condition_expression("streamName = :stream AND begins_with(shardId, :prefix)")
                    .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()));
            }
            let answer = request.send().await.map_err(|error| to_error(call, &error))?;
            rows.extend(answer.items().iter().map(to_item));
            match answer.last_evaluated_key {
                Some(key) if !key.is_empty() => from = Some(key),
                _ => return Ok(rows),
            }
        }
    }

    async fn row(&self, scope: &Scope, key: &str) -> Result<Option<Item>, Error> {
        let call = Call {
            action: "GetItem",
            table: &scope.application,
        };
        let answer = self
            .client
            .get_item()
            .table_name(&scope.application)
            .consistent_read(true)
            .set_key(Some(key_values(scope, key)))
            .send()
            .await
            .map_err(|error| to_error(call, &error))?;
        Ok(answer.item().map(to_item))
    }

    async fn update(&self, scope: &Scope, update: &Update) -> Result<Written, Error> {
        let call = Call {
            action: "UpdateItem",
            table: &scope.application,
        };
        let expressions = Expressions::of(update);
        let values = Some(expressions.values).filter(|values| !values.is_empty());
        let answer = self
            .client
            .update_item()
            .table_name(&scope.application)
            .set_key(Some(key_values(scope, &update.key)))
            .condition_expression(expressions.condition)
            .update_expression(expressions.update)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = answer else {
            return Ok(Written::Done);
        };
        match error
            .as_service_error()
            .filter(|e| e.is_conditional_check_failed_exception())
        {
            Some(_) => refused(self, scope, update, &error).await,
            None => Err(to_error(call, &error)),
        }
    }
}

type UpdateFailure = aws_sdk_dynamodb::error::SdkError<
    aws_sdk_dynamodb::operation::update_item::UpdateItemError,
    aws_sdk_dynamodb::config::http::HttpResponse,
>;

/// The row that refused an update: from the answer, or read where a service does not give it.
async fn refused(
    leases: &DynamoLeases,
    scope: &Scope,
    update: &Update,
    error: &UpdateFailure,
) -> Result<Written, Error> {
    use aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException;
    if let Some(ConditionalCheckFailedException(failed)) = error.as_service_error()
        && let Some(item) = failed.item()
    {
        return Ok(Written::Refused(Some(to_item(item))));
    }
    leases.row(scope, &update.key).await.map(Written::Refused)
}

fn key_values(scope: &Scope, key: &str) -> Values {
    let stream = AttributeValue::S(scope.stream.to_string());
    let shard = AttributeValue::S(key.to_owned());
    [
        (name::STREAM_NAME.to_owned(), stream),
        (name::SHARD_ID.to_owned(), shard),
    ]
    .into()
}

#[cfg(test)]
mod tests;
