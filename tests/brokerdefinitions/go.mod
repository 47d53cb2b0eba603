// Custom resource definitions of operators that run brokers: examples/brokers are checked against them. No code is built.
module mqttaccess.io/tests/brokerdefinitions

go 1.24

require github.com/rabbitmq/cluster-operator/v2 v2.16.0
