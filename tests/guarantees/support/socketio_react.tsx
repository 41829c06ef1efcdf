// A part of a page as React applications with Socket.IO have it: a service around the client, and a component that uses it while it is shown.
import { useEffect, useState } from 'react';
import { io, Socket } from 'socket.io-client';

class Cases {
  private socket: Socket | null = null;

  connect(token: string) {
    this.socket = io('http://localhost:3000/events', {
      auth: { token },
      reconnection: true,
      reconnectionAttempts: 5,
      reconnectionDelay: 1000,
      reconnectionDelayMax: 5000,
      timeout: 20000,
      transports: ['websocket'],
    });
    this.socket.on('connect', () => console.log('connected'));
    this.socket.on('connected', (data) => console.log('acknowledged', data));
    this.socket.on('error', (error) => console.error('refused', error));
    this.socket.on('connect_error', (error) => console.error('not connected', error.message));
    this.socket.on('disconnect', (reason) => console.warn('disconnected', reason));
  }

  follow(caseId: string) {
    this.socket?.emit('subscribe:case', { caseId }, (answer: { status: string; error?: string }) => {
      if (answer.status === 'error') console.error('not followed', answer.error);
      else console.log('follows', caseId);
    });
  }

  onUpdate(callback: (data: { state: string }) => void) {
    this.socket?.on('case:updated', callback);
  }

  disconnect() {
    this.socket?.disconnect();
  }
}

const cases = new Cases();

function CaseDetail({ caseId }: { caseId: string }) {
  const [state, setState] = useState('unknown');
  useEffect(() => {
    const token = localStorage.getItem('access_token');
    if (token) {
      cases.connect(token);
      cases.follow(caseId);
      cases.onUpdate((data) => {
        console.log('updated', data);
        setState(data.state);
      });
    }
    return () => cases.disconnect();
  }, [caseId]);
  return <p>{`${caseId} is ${state}`}</p>;
}
