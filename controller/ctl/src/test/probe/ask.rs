//! The client: all questions at once, up to a limit, each answered in its place.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::wire::{Answer, Question};
use super::{sizes, socket, tcp, transfer, udp};

/// Questions under way at once.
const AT_ONCE: usize = 8;

/// The answers, in the order of the questions.
pub(super) fn all(questions: &[Question]) -> Vec<Answer> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(vec![None; questions.len()]);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(questions.len()) {
            scope.spawn(|| {
                while let Some((index, question)) = take(&next, questions) {
                    let answer = one(question);
                    answers.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(answer);
                }
            });
        }
    });
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    let unanswered = || Answer::failed("the probe gave up");
    answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect()
}

fn take<'a>(next: &AtomicUsize, questions: &'a [Question]) -> Option<(usize, &'a Question)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, questions.get(index)?))
}

fn one(question: &Question) -> Answer {
    match question {
        Question::Tcp { to, times } => Answer::Met(tcp::meet(to, *times)),
        Question::Udp { to, times, direct } => Answer::Met(udp::meet(to, *times, *direct)),
        Question::Sizes { to, range } => sizes::sweep(to, *range),
        Question::Transfer { to, bytes } => transfer::both_ways(to, *bytes),
        Question::Resolve { name } => resolve(name),
    }
}

fn resolve(name: &str) -> Answer {
    match (name, 0).to_socket_addrs() {
        Ok(found) => {
            let addresses: BTreeSet<_> = found.map(|address: SocketAddr| address.ip()).collect();
            Answer::Addresses { addresses }
        }
        Err(error) => Answer::failed(socket::name(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::super::serve;
    use super::super::wire::{Range, Way};
    use super::*;

    /// A server on a port that was free a moment ago.
    fn server() -> String {
        let here = Ipv4Addr::LOCALHOST;
        let port = TcpListener::bind((here, 0)).unwrap().local_addr().unwrap().port();
        thread::spawn(move || serve::run(here.into(), port, "me").unwrap());
        let to = format!("{here}:{port}");
        while !matches!(&one(&Question::Tcp { to: to.clone(), times: 1 }),
                        Answer::Met(met) if met.errors.is_empty())
        {
            thread::yield_now();
        }
        to
    }

    #[test]
    fn a_server_of_our_own_answers_every_question() {
        let to = server();
        let questions = [
            Question::Tcp { to: to.clone(), times: 20 },
            Question::Udp { to: to.clone(), times: 20, direct: true },
            Question::Transfer { to: to.clone(), bytes: 300_001 },
            Question::Sizes { to: to.clone(), range: Range::WithinMtu },
            Question::Sizes { to, range: Range::Fragmented },
            Question::Resolve { name: "localhost".to_owned() },
        ];
        let answers = all(&questions);
        for answer in &answers[..2] {
            let Answer::Met(met) = answer else { panic!("{answer:?}") };
            assert_eq!((met.asked, met.by["me"], met.errors.len()), (20, 20, 0));
            assert_eq!(met.sources, [Ipv4Addr::LOCALHOST.into()].into());
        }
        assert_eq!(answers[2], Answer::Transferred);
        for answer in &answers[3..5] {
            let Answer::Sizes { wrong, right, .. } = answer else { panic!("{answer:?}") };
            assert!(wrong.is_empty() && *right >= 6, "{wrong:?}");
        }
        let Answer::Addresses { addresses } = &answers[5] else { panic!("{:?}", answers[5]) };
        assert!(!addresses.is_empty());
    }

    #[test]
    fn nobody_there_is_told_as_refused() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let to = free.to_string();
        let Answer::Met(met) = one(&Question::Tcp { to: to.clone(), times: 5 }) else { panic!() };
        assert_eq!(met.errors.keys().collect::<Vec<_>>(), ["refused"]);
        let failed = one(&Question::Transfer { to, bytes: 1 });
        let (error, lost) = ("sending: refused".to_owned(), Some(Way::There));
        assert_eq!(failed, Answer::Failed { error, lost });
    }
}
