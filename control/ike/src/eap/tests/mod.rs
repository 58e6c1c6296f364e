//! Vectors, whole conversations, and everything that must not let anybody in.

mod conversations;
mod hostile;
mod vectors;

use zeroize::Zeroizing;

use super::{Answer, Client, Conversation, Msk, Refusal, Step, Users};

const USER: &str = "User";
const PASSWORD: &str = "clientPass";
const SERVER_CHALLENGE: [u8; 16] = *b"[]|}{?/><,`!2&&(";
const CLIENT_CHALLENGE: [u8; 16] = *b"!@#$%^&*()_+:3|~";

/// One user.
struct Only(&'static str, &'static str);

impl Users for Only {
    fn password(&self, name: &str) -> Option<Zeroizing<String>> {
        (name == self.0).then(|| Zeroizing::new(self.1.to_owned()))
    }
}

fn client(name: &str, password: &str) -> Client {
    Client::new(name, Zeroizing::new(password.to_owned()))
}

fn server_random(bytes: &mut [u8]) {
    bytes.copy_from_slice(&SERVER_CHALLENGE);
}

fn client_random(bytes: &mut [u8]) {
    bytes.copy_from_slice(&CLIENT_CHALLENGE);
}

fn asked(step: Step) -> Vec<u8> {
    match step {
        Step::Ask(message) => message,
        other => panic!("{other:?} instead of a question"),
    }
}

fn sent(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Send(message) => message,
        other => panic!("{other:?} instead of a message"),
    }
}

/// How a conversation ended, on both sides.
#[derive(PartialEq, Eq)]
enum End {
    In { user: String, gateways: Msk, clients: Msk },
    Out { why: Refusal, client: Answer },
}

/// A gateway and a client talk to the end; `between` is done to the gateway's side before each packet.
fn talk(
    users: &dyn Users,
    client: &mut Client,
    first_id: u8,
    mut between: impl FnMut(Conversation) -> Conversation,
) -> End {
    let (mut gateway, mut question) = Conversation::begin(first_id);
    for _ in 0..8 {
        let answer = sent(client.hear(&question, &mut client_random));
        gateway = between(gateway);
        match gateway.hear(&answer, users, &mut server_random) {
            Step::Ask(next) => question = next,
            Step::Granted { message, user, msk } => match client.hear(&message, &mut client_random) {
                Answer::Granted(clients) => return End::In { user, gateways: msk, clients },
                other => panic!("the client says {other:?} to a grant"),
            },
            Step::Refused { message, why } => {
                return End::Out { why, client: client.hear(&message, &mut client_random) };
            }
            Step::Ignored => panic!("ignored {answer:?}"),
        }
    }
    panic!("no end");
}
