-- The cap on live nonces is counted by the gateway that admits: its index cost every insert as much again as the primary
-- key, and counting grew with what an agent had spent. What is left is the replay memory itself.
alter table nonce drop column agent, drop column expires;
