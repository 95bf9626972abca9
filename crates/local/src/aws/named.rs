//! What a call is about: the stream, shard, consumer or tables that its body names.

use ferrokinesis::shard_iterator::decode_shard_iterator;
use serde_json::Value;

/// Names in a request's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) stream: Option<String>,
    pub(crate) shard: Option<String>,
    pub(crate) consumer: Option<String>,
    /// As it stands in the body.
    pub(crate) consumer_arn: Option<String>,
    pub(crate) tables: Vec<String>,
}

impl Named {
    pub(crate) fn of_kinesis(body: &Value) -> Self {
        let text = |key: &str| body[key].as_str().filter(|text| !text.is_empty());
        let iterator = text("ShardIterator").and_then(|iterator| decode_shard_iterator(iterator).ok());
        let (of_iterator, shard) = match iterator {
            Some((_, stream, shard, _)) => (Some(stream), Some(shard)),
            None => (None, None),
        };
        let arn = ["ConsumerARN", "StreamARN", "ResourceARN"]
            .into_iter()
            .find_map(text);
        let consumer_arn = text("ConsumerARN")
            .or_else(|| text("ResourceARN"))
            .filter(|arn| arn.contains("/consumer/"));
        let of_arn = |arn: &str| {
            let (_, rest) = arn.split_once("/consumer/")?;
            Some(rest.split(':').next()?.to_owned())
        };
        Self {
            stream: text("StreamName")
                .map(str::to_owned)
                .or_else(|| after(arn?, ":stream/"))
                .or(of_iterator),
            shard: text("ShardId").map(str::to_owned).or(shard),
            consumer: text("ConsumerName")
                .map(str::to_owned)
                .or_else(|| of_arn(consumer_arn?)),
            consumer_arn: consumer_arn.map(str::to_owned),
            tables: Vec::new(),
        }
    }

    pub(crate) fn of_dynamodb(body: &Value) -> Self {
        let mut tables: Vec<String> = body["TableName"].as_str().map(table).into_iter().collect();
        tables.extend(body["ResourceArn"].as_str().map(table));
        let batch = body["RequestItems"].as_object();
        tables.extend(batch.into_iter().flatten().map(|(name, _)| table(name)));
        let items = body["TransactItems"].as_array().into_iter().flatten();
        let actions = items.filter_map(Value::as_object).flatten();
        tables.extend(actions.filter_map(|(_, action)| action["TableName"].as_str().map(table)));
        Self {
            tables,
            ..Self::default()
        }
    }

    /// Whether a rule's `resource` is one of them.
    pub(crate) fn has(&self, resource: &str) -> bool {
        [&self.stream, &self.consumer]
            .into_iter()
            .flatten()
            .chain(&self.tables)
            .any(|name| name == resource)
    }
}

/// The part of an ARN between this and the next slash.
fn after(arn: &str, mark: &str) -> Option<String> {
    let (_, rest) = arn.split_once(mark)?;
    Some(rest.split('/').next()?.to_owned())
}

/// Tables are named by name or by ARN.
fn table(name: &str) -> String {
    after(name, ":table/").unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_found_wherever_a_body_has_them() {
        let consumer = "arn:aws:kinesis:us-east-1:1:stream/clicks/consumer/app:1700000000";
        let named = Named::of_kinesis(&json!({"ConsumerARN": consumer, "ShardId": "shardId-000000000001"}));
        assert!(named.has("clicks") && named.has("app") && !named.has("other"));
        assert_eq!(named.shard.as_deref(), Some("shardId-000000000001"));
        assert_eq!(named.consumer_arn.as_deref(), Some(consumer));
        let number = "49590338271490256608559692538361571095921575989136588898";
        let iterator =
            ferrokinesis::shard_iterator::create_shard_iterator("s", "shardId-000000000000", number, 1);
        let named = Named::of_kinesis(&json!({"ShardIterator": iterator}));
        assert_eq!(
            (named.stream.as_deref(), named.shard.as_deref()),
            (Some("s"), Some("shardId-000000000000"))
        );
        for body in [
            json!({"TableName": "t"}),
            json!({"TableName": "arn:aws:dynamodb:us-east-1:1:table/t"}),
            json!({"RequestItems": {"other": {}, "t": {}}}),
            json!({"TransactItems": [{"Put": {"TableName": "x"}}, {"Update": {"TableName": "t"}}]}),
        ] {
            assert!(Named::of_dynamodb(&body).has("t"), "{body}");
        }
    }
}
