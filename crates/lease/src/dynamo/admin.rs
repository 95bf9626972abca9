//! Whole tables in DynamoDB. IAM actions: `DescribeTable`, `CreateTable`, `DeleteTable`, `Scan`.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{ScalarAttributeType, TableDescription};

use super::failure::{Call, code_of, to_error};
use super::{DynamoLeases, Values, not_ready, to_item, to_value};
use crate::admin::{Layout, Page, PageKey, Table, TableAdmin};
use crate::error::Error;

/// Describes a table by its key and status.
fn table_of(name: &str, description: &TableDescription) -> Result<Table, Error> {
    let types: HashMap<&str, &ScalarAttributeType> = description
        .attribute_definitions()
        .iter()
        .map(|d| (d.attribute_name(), d.attribute_type()))
        .collect();
    let key: Vec<(&str, &str, &str)> = description
        .key_schema()
        .iter()
        .map(|k| {
            let name = k.attribute_name();
            let kind = types.get(name).map_or("?", |kind| kind.as_str());
            (name, k.key_type().as_str(), kind)
        })
        .collect();
    Ok(Table {
        layout: Layout::of_key(&key),
        not_ready: not_ready(name, description)?,
    })
}

#[async_trait]
impl TableAdmin for DynamoLeases {
    async fn describe(&self, table: &str) -> Result<Option<Table>, Error> {
        let call = Call {
            action: "DescribeTable",
            table,
        };
        match self.client.describe_table().table_name(table).send().await {
            Ok(answer) => answer.table().map(|found| table_of(table, found)).transpose(),
            Err(error) if code_of(&error) == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(to_error(call, &error)),
        }
    }

    async fn create(&self, table: &str) -> Result<(), Error> {
        self.create_table(table).await
    }

    async fn delete(&self, table: &str) -> Result<(), Error> {
        let call = Call {
            action: "DeleteTable",
            table,
        };
        match self.client.delete_table().table_name(table).send().await {
            Ok(_) => Ok(()),
            Err(error) => match code_of(&error) {
                Some("ResourceNotFoundException") => Ok(()),
                Some("ResourceInUseException") => Err(Error::TableNotReady {
                    table: table.to_owned(),
                    status: "in use".to_owned(),
                }),
                _ => Err(to_error(call, &error)),
            },
        }
    }

    async fn scan(&self, table: &str, from: Option<PageKey>) -> Result<Page, Error> {
        let call = Call {
            action: "Scan",
            table,
        };
        let from: Option<Values> = from.map(|PageKey(key)| {
            let parts = key.iter().map(|(name, value)| (name.clone(), to_value(value)));
            parts.collect()
        });
        let answer = self
            .client
            .scan()
            .table_name(table)
            .consistent_read(true)
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| to_error(call, &error))?;
        let next = answer.last_evaluated_key().filter(|key| !key.is_empty());
        Ok(Page {
            items: answer.items().iter().map(to_item).collect(),
            next: next.map(|key| PageKey(to_item(key))),
        })
    }
}
