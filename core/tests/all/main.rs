//! The engine's public API from outside. One binary, because each one more costs as much to link as this one.
//!
//! Modules that need a feature say so in their first lines.

mod auth_chap;
mod config_builder;
mod conn_api;
mod conn_control;
mod conn_discovery;
mod login_auth;
mod login_stages;
mod login_support;
mod plain_api;
mod plan;
mod recovery;
mod recovery_level_1;
mod recovery_level_1_gaps;
mod recovery_level_1_rejects;
mod recovery_level_1_text;
mod recovery_level_1_writes;
mod recovery_login;
mod recovery_useful;
mod rx_chunks;
mod rx_data_in;
mod rx_response;
mod script_rules;
mod session_again;
mod session_boxed;
mod session_life;
mod session_login;
mod session_window;
mod strict_recorder;
mod strict_soak;
mod text_keys;
mod text_negotiation;
mod text_pairs;
mod text_send_targets;
mod tmf_abort;
mod tx_backlog;
mod tx_ring;
mod tx_write;
mod url_parse;
mod wire_ahs;
mod wire_codes;
mod wire_digest;
mod wire_pretty;
mod wire_roundtrip;
mod wire_vectors;
