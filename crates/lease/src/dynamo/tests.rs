use aws_sdk_dynamodb::types::TableStatus;
use frazil_model::{Position, SequenceNumber, ShardId, WorkerId};

use super::*;
use crate::state::{Checkpoint, Tenure};

/// What a request says: values put in place of their names.
fn spelled(update: &Update) -> String {
    let expressions = Expressions::of(update);
    let mut text = format!("{}\nIF {}", expressions.update, expressions.condition);
    let mut names: Vec<&String> = expressions.values.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for name in names {
        let value = match &expressions.values[name] {
            AttributeValue::S(text) => format!("'{text}'"),
            AttributeValue::N(text) => text.clone(),
            other => format!("{other:?}"),
        };
        text = text.replace(name.as_str(), &value);
    }
    text
}

#[test]
fn a_checkpoint_asks_for_owner_epoch_and_an_older_position() {
    let tenure = Tenure {
        shard: ShardId::new("s").expect("valid"),
        epoch: 3,
        generation: 0,
    };
    let worker = WorkerId::new("w").expect("valid");
    let position = Position::whole(SequenceNumber::new("7").expect("digits"));
    let token = position.token();
    let new = Checkpoint {
        position: Some(position),
        ..Checkpoint::default()
    };
    let text = spelled(&Update::checkpoint(&worker, &tenure, 2, &new, 9));
    assert_eq!(
        text,
        format!(
            "SET frazilSerial = 2, lastUpdateTimestamp = 9, \
             frazilPosition = '{token}', sequenceNumber = '7', frazilSequence = '7'\n\
             IF leaseOwner = 'w' AND frazilEpoch = 3 AND frazilGeneration = 0 AND frazilSerial < 2 \
             AND (attribute_not_exists(sequenceNumber) OR sequenceNumber = frazilSequence) \
             AND (attribute_not_exists(frazilPosition) OR frazilPosition <= '{token}')"
        )
    );
}

fn described(key: &[(&str, KeyType)], kind: ScalarAttributeType, status: TableStatus) -> TableDescription {
    let mut table = TableDescription::builder().table_status(status);
    for (name, key_type) in key {
        let element = KeySchemaElement::builder()
            .attribute_name(*name)
            .key_type(key_type.clone())
            .build();
        let definition = AttributeDefinition::builder()
            .attribute_name(*name)
            .attribute_type(kind.clone())
            .build();
        table = table
            .key_schema(element.expect("whole"))
            .attribute_definitions(definition.expect("whole"));
    }
    table.build()
}

#[test]
fn a_table_of_another_layout_is_refused_and_named() {
    let text = ScalarAttributeType::S;
    assert_eq!(
        check("app", &described(&KEY, text.clone(), TableStatus::Active)),
        Ok(())
    );
    let creating = check("app", &described(&KEY, text.clone(), TableStatus::Creating));
    assert!(matches!(creating, Err(Error::TableNotReady { status, .. }) if status == "CREATING"));
    let legacy = described(&[("leaseKey", KeyType::Hash)], text.clone(), TableStatus::Active);
    let error = check("app", &legacy).expect_err("another layout").to_string();
    assert!(
        error.contains("leaseKey (HASH, S)") && error.contains("Kinesis Client Library"),
        "{error}"
    );
    for other in [
        described(&KEY, ScalarAttributeType::N, TableStatus::Active),
        described(&KEY[..1], text.clone(), TableStatus::Active),
        described(
            &[("StreamID", KeyType::Hash), ("ShardID", KeyType::Range)],
            text,
            TableStatus::Active,
        ),
    ] {
        assert!(
            matches!(check("app", &other), Err(Error::ForeignLayout { .. })),
            "{other:?} passed"
        );
    }
}

#[test]
fn case_90_each_status_of_a_table_is_usable_or_waited_for_or_told_with_the_next_step() {
    let status = |status: &str| {
        let table = described(&KEY, ScalarAttributeType::S, TableStatus::from(status));
        check("app", &table)
    };
    for usable in ["ACTIVE", "UPDATING"] {
        assert_eq!(status(usable), Ok(()));
    }
    // The last ones are those of other features, and of a later version of the service.
    for waits in ["CREATING", "DELETING", "REPLICATION_NOT_AUTHORIZED", "THAWING"] {
        let error = status(waits).expect_err("not yet");
        assert!(
            error.kind().may_heal() && error.to_string().contains(waits),
            "{error}"
        );
    }
    for (told, next) in [
        ("INACCESSIBLE_ENCRYPTION_CREDENTIALS", "enable the key"),
        ("ARCHIVING", "restore that under its name"),
        ("ARCHIVED", "restore that under its name"),
    ] {
        let error = status(told).expect_err("not by itself");
        assert!(!error.kind().may_heal(), "{error}");
        let error = error.to_string();
        assert!(
            error.contains("table app") && error.contains(told) && error.contains(next),
            "{error}"
        );
    }
}
